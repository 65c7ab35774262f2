// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.image.testing.FuzzedImages;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** The writer under operations that a fuzzer chooses; see {@link FuzzedImages} for how to fuzz. */
class Ext4FuzzTest {
  private static final Ext4Options OPTIONS = Ext4Options.of(new UUID(1, 2));
  private static @Nullable Victim victim;

  @FuzzTest(maxDuration = "5m")
  void whateverIsDoneTheFilesystemIsClean(FuzzedDataProvider data) throws IOException {
    Path image = Files.createTempFile("nacelle-fuzz", ".ext4");
    try {
      RandomTree.write(image, new Chosen(data));
      FuzzedImages.check(image);
    } finally {
      Files.delete(image);
    }
  }

  @FuzzTest(maxDuration = "5m")
  void whateverIsDoneOthersCanStartFromCheckpoints(FuzzedDataProvider data) throws IOException {
    Path image = Files.createTempFile("nacelle-fuzz", ".ext4");
    Path other = Files.createTempFile("nacelle-fuzz", ".ext4");
    try {
      List<Checkpoint> checkpoints =
          RandomTree.writeWithCheckpoints(image, new Chosen(data), data.consumeInt(1, 3));
      FuzzedImages.check(image);
      for (Checkpoint checkpoint : checkpoints) {
        RandomTree.extend(image, checkpoint, other, new Chosen(data));
        FuzzedImages.check(other);
      }
    } finally {
      Files.delete(image);
      Files.delete(other);
    }
  }

  /** One of each kind of metadata and little else, so that damage meets something. */
  private static final class Victim {
    private static final InodeAttributes PLAIN = new InodeAttributes(0644, 0, 0, Instant.EPOCH);

    final Checkpoint checkpoint;
    private final byte[] bytes;

    /** Of the blocks with anything in them. */
    private final int[] used;

    Victim() throws IOException {
      Path image = Files.createTempFile("nacelle-fuzz", ".ext4");
      try (Ext4Writer writer = Ext4Writer.create(image, OPTIONS)) {
        write(writer);
        checkpoint = writer.checkpoint();
        writer.finish();
        bytes = Files.readAllBytes(image);
      } finally {
        Files.delete(image);
      }
      ByteBuffer zeros = Ext4Format.newBlock();
      used =
          IntStream.range(0, bytes.length / Ext4Format.BLOCK_SIZE)
              .map(block -> block * Ext4Format.BLOCK_SIZE)
              .filter(at -> !ByteBuffer.wrap(bytes, at, Ext4Format.BLOCK_SIZE).equals(zeros))
              .toArray();
    }

    private static void write(Ext4Writer writer) throws IOException {
      Map<String, byte[]> values =
          Map.of("user.in-inode", new byte[9], "security.in-block", new byte[999]);
      InodeAttributes labelled =
          new InodeAttributes(01777, 1L << 31, 70_000, Instant.MAX, ExtendedAttributes.of(values));
      Directory indexed = writer.createDirectory(writer.root(), FileName.of("indexed"), labelled);
      for (int i = 0; i < 60; i++) {
        FileName name = FileName.of(i + "x".repeat(200));
        writer.createSpecialFile(indexed, name, labelled, SpecialFile.Type.FIFO, 0, 0);
      }
      Directory root = writer.root();
      for (int length : new int[] {9, 999}) {
        byte[] target = new byte[length];
        Arrays.fill(target, (byte) 'x');
        writer.createSymbolicLink(root, FileName.of("link" + length), PLAIN, target);
      }
      writer.createSpecialFile(
          root, FileName.of("device"), PLAIN, SpecialFile.Type.BLOCK_DEVICE, 999, 99_999);
      // More extents than an inode has room for.
      List<DataRange> ranges =
          IntStream.range(0, 9).mapToObj(i -> new DataRange(i * 9000L, 1)).toList();
      RegularFile sparse =
          writer.createSparseFile(
              root,
              FileName.of("sparse"),
              PLAIN,
              99_999,
              ranges,
              new ByteArrayInputStream(new byte[ranges.size()]));
      writer.link(indexed, FileName.of("hard-link"), sparse);
    }

    byte[] damaged(FuzzedDataProvider data) {
      byte[] damaged = bytes.clone();
      while (data.remainingBytes() > 0) {
        int block = used[data.consumeInt(0, used.length - 1)];
        damaged[block + data.consumeInt(0, Ext4Format.BLOCK_SIZE - 1)] = data.consumeByte();
      }
      return damaged;
    }
  }

  @FuzzTest(maxDuration = "5m")
  void aDamagedImageIsAnErrorOrATree(FuzzedDataProvider data) throws IOException {
    Path image = Files.createTempFile("nacelle-fuzz", ".ext4");
    Path other = Files.createTempFile("nacelle-fuzz", ".ext4");
    try {
      if (victim == null) {
        victim = new Victim();
      }
      Files.write(image, victim.damaged(data));
      assertReadOrRefused(() -> Ext4Writer.extend(image, other, OPTIONS));
      assertReadOrRefused(() -> Ext4Writer.extend(image, victim.checkpoint, other, OPTIONS));
    } finally {
      Files.delete(image);
      Files.delete(other);
    }
  }

  private static void assertReadOrRefused(Callable<Ext4Writer> extend) throws IOException {
    try {
      extend.call().close();
    } catch (Ext4ImageException refused) {
      // As it should be.
    } catch (IOException | RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  /** All of Random's methods come down to this one. */
  private static final class Chosen extends Random {
    private static final long serialVersionUID = 1L;
    private final transient FuzzedDataProvider data;

    Chosen(FuzzedDataProvider data) {
      super(0);
      this.data = data;
    }

    @Override
    protected int next(int bits) {
      // Fewer bytes for small numbers, so that the fuzzer's changes are felt.
      return bits <= 8 ? data.consumeByte() & (1 << bits) - 1 : data.consumeInt() >>> (32 - bits);
    }
  }
}
