// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static dev.nacelle.agent.FakeFiles.entry;
import static dev.nacelle.agent.FakeFiles.map;

import com.code_intelligence.jazzer.junit.FuzzTest;
import com.google.protobuf.ByteString;
import dev.nacelle.GuestIOException;
import dev.nacelle.Sandbox;
import dev.nacelle.image.ext4.DataRange;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarReader;
import dev.nacelle.proto.agent.v1.FileEntry.Type;
import dev.nacelle.proto.agent.v1.FilePart;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Whatever a guest tells of a directory is an error or an archive, of the files that it told with
 * their holes and their content. See {@link dev.nacelle.image.testing.FuzzedImages} for how to
 * fuzz.
 */
class TarInputFuzzTest {
  private static final long[] LENGTHS = {
    0, 1, 2, 511, 512, 513, 4096, 70_000, 1L << 40, Long.MAX_VALUE, -1
  };
  private static final int MOST = 1 << 20;

  private static FakeNacelle nacelle;
  private static Sandbox sandbox;

  @BeforeAll
  static void start() {
    nacelle = new FakeNacelle();
    sandbox = nacelle.start();
  }

  @AfterAll
  static void close() {
    nacelle.close();
  }

  static Stream<byte[]> guests() {
    Random random = new Random(6);
    return Stream.generate(
            () -> {
              byte[] bytes = new byte[random.nextInt(60)];
              random.nextBytes(bytes);
              return bytes;
            })
        .limit(200);
  }

  /** A file as it was told. */
  private record Told(long size, List<DataRange> data, ByteArrayOutputStream content) {}

  /** What a guest tells, and what an archive of it has in it. */
  private static final class Guest {
    private final InputStream bytes;
    private final List<FilePart.Builder> parts = new ArrayList<>();
    private final List<Told> files = new ArrayList<>();
    private final List<Long> runs = new ArrayList<>();

    Guest(byte[] bytes) {
      this.bytes = new ByteArrayInputStream(bytes);
    }

    private int below(int bound) throws IOException {
      return Math.max(0, bytes.read()) % bound;
    }

    void tell() throws IOException {
      while (bytes.available() > 0) {
        switch (below(7)) {
          case 0 -> parts.add(entry(Type.DIRECTORY, "d"));
          case 1 -> parts.add(entry(Type.SOCKET, "s"));
          case 2, 3 -> {
            long size = LENGTHS[below(9)];
            FilePart.Builder file = entry(Type.REGULAR, "f" + files.size());
            parts.add(file.setEntry(file.getEntry().toBuilder().setSize(size)));
            files.add(new Told(size, ranges(size), new ByteArrayOutputStream()));
          }
          case 4 -> {
            Long[] told = new Long[2 * below(4)];
            for (int i = 0; i < told.length; i++) {
              // Mostly such as a file may have.
              told[i] = LENGTHS[below(100) < 97 ? below(7) : below(LENGTHS.length)];
            }
            parts.add(map(told));
            runs.addAll(Arrays.asList(told));
            runs.add(null);
          }
          case 5 -> {
            byte[] data = new byte[7 * below(256)];
            Arrays.fill(data, (byte) (1 + below(255)));
            content(FilePart.newBuilder().setData(ByteString.copyFrom(data)), data);
          }
          default -> {
            long hole = LENGTHS[below(9)];
            content(FilePart.newBuilder().setHole(hole), new byte[(int) Math.min(hole, 2 * MOST)]);
          }
        }
      }
    }

    private void content(FilePart.Builder part, byte[] bytes) {
      parts.add(part);
      Type last =
          parts.stream()
              .filter(FilePart.Builder::hasEntry)
              .map(told -> told.getEntry().getType())
              .reduce((one, two) -> two)
              .orElse(Type.DIRECTORY);
      if (last == Type.REGULAR) {
        files.get(files.size() - 1).content.writeBytes(bytes);
      }
    }

    /** Of what was told since the file before; of all that is no error. */
    private List<DataRange> ranges(long size) {
      List<DataRange> ranges = new ArrayList<>();
      long position = 0;
      List<Long> lengths = runs.stream().filter(Objects::nonNull).toList();
      for (int i = 0; i < lengths.size(); i += 2) {
        long start = position + lengths.get(i);
        position = start + lengths.get(i + 1);
        if (position > start && start >= 0) {
          ranges.add(new DataRange(start, position - start));
        }
      }
      boolean told = !runs.isEmpty();
      runs.clear();
      return told ? ranges : List.of(new DataRange(0, size));
    }
  }

  @MethodSource("guests")
  @FuzzTest(maxDuration = "5m")
  void whatIsToldIsAnErrorOrAnArchive(byte[] bytes) throws IOException {
    Guest guest = new Guest(bytes);
    guest.tell();
    nacelle.machine().agent().files().answer("/t", guest.parts.toArray(new FilePart.Builder[0]));
    byte[] archive;
    try (InputStream in = sandbox.files().openTar("/t")) {
      archive = in.readNBytes(MOST);
    } catch (GuestIOException e) {
      return;
    }
    if (archive.length == MOST) {
      // Sizes beyond what is looked at.
      return;
    }
    TarReader reader = new TarReader(new ByteArrayInputStream(archive), MOST);
    int count = 0;
    for (TarEntry entry = reader.next(); entry != null; entry = reader.next()) {
      if (entry.type() == TarEntry.Type.REGULAR_FILE) {
        Told told = guest.files.get(count++);
        byte[] content = reader.content().readAllBytes();
        require(entry.size() == told.size && content.length == sum(entry), told);
        require(
            content.length == told.size || blocks(entry.data()).equals(blocks(told.data)), told);
        byte[] expected = told.content.toByteArray();
        int at = 0;
        for (DataRange range : entry.data()) {
          for (long i = range.offset(); i < range.end(); i++) {
            require(content[at++] == (i < expected.length ? expected[(int) i] : 0), told);
          }
        }
      }
    }
    require(count == guest.files.size(), guest.parts);
  }

  /** Those that are touched. */
  private static SortedSet<Long> blocks(List<DataRange> ranges) {
    SortedSet<Long> blocks = new TreeSet<>();
    for (DataRange range : ranges) {
      for (long block = range.offset() / 512; block * 512 < range.end(); block++) {
        blocks.add(block);
      }
    }
    return blocks;
  }

  private static long sum(TarEntry entry) {
    return entry.data().stream().mapToLong(DataRange::length).sum();
  }

  private static void require(boolean condition, Object about) {
    if (!condition) {
      throw new AssertionError("not as it was told: " + about);
    }
  }
}
