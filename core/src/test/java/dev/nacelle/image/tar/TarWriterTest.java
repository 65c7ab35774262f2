// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.tar;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import dev.nacelle.image.ext4.DataRange;
import dev.nacelle.image.testing.Tool;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What the reader makes of it; that GNU tar agrees is tested where archives are used. */
class TarWriterTest {
  private static TarEntry read(TarEntry written) throws IOException {
    ByteArrayOutputStream archive = new ByteArrayOutputStream();
    archive.writeBytes(TarWriter.header(written));
    archive.writeBytes(TarWriter.end());
    return new TarReader(new ByteArrayInputStream(archive.toByteArray()), 1 << 20).next();
  }

  private static TarEntry entry(byte[] path, byte[] target, long number, Instant time) {
    return new TarEntry(
        target.length == 0 ? TarEntry.Type.CHARACTER_DEVICE : TarEntry.Type.SYMBOLIC_LINK,
        path,
        target,
        04755,
        number,
        number / 2,
        time,
        0,
        List.of(),
        target.length == 0 ? 7 : 0,
        target.length == 0 ? 8 : 0,
        Map.of("user.a", new byte[] {0, '\n', -1}));
  }

  @Test
  void whateverIsWrittenIsRead() throws IOException {
    Random random = new Random(3);
    for (int i = 0; i < 3000; i++) {
      byte[] path = new byte[1 + random.nextInt(random.nextInt(300) + 1)];
      byte[] target = new byte[random.nextInt(random.nextInt(300) + 1)];
      for (int at = 0; at < path.length; at++) {
        path[at] = (byte) (1 + random.nextInt(255));
      }
      for (int at = 0; at < target.length; at++) {
        target[at] = (byte) (random.nextBoolean() ? 'a' : 1 + random.nextInt(255));
      }
      long number = random.nextLong() >>> (32 + random.nextInt(31));
      Instant time =
          Instant.ofEpochSecond(random.nextLong() >> (20 + random.nextInt(30)), random.nextInt(3));
      TarEntry written = entry(path, target, Math.min(number, 0xFFFF_FFFEL), time);
      TarEntry read = read(written);
      assertNotNull(read);
      assertArrayEquals(written.path(), read.path());
      assertArrayEquals(written.linkTarget(), read.linkTarget());
      assertEquals(written.type(), read.type());
      assertEquals(written.permissions(), read.permissions());
      assertEquals(written.uid(), read.uid());
      assertEquals(written.gid(), read.gid());
      assertEquals(written.modified(), read.modified());
      assertEquals(written.major(), read.major());
      assertEquals(written.minor(), read.minor());
      assertArrayEquals(new byte[] {0, '\n', -1}, read.xattrs().get("user.a"));
    }
  }

  @Test
  void aFileWithHolesHasAMap() throws IOException {
    Random random = new Random(4);
    for (int i = 0; i < 300; i++) {
      List<DataRange> data = new ArrayList<>();
      long end = random.nextInt(2);
      for (int count = random.nextInt(random.nextInt(2000) + 1); count > 0; count--) {
        long length = 1 + (random.nextLong() >>> (50 + random.nextInt(14)));
        data.add(new DataRange(end, length));
        end += length + 1 + (random.nextLong() >>> (30 + random.nextInt(34)));
      }
      long size = end + random.nextInt(2);
      String path = "d/".repeat(random.nextInt(60)) + "file";
      TarEntry written =
          new TarEntry(
              TarEntry.Type.REGULAR_FILE,
              path.getBytes(UTF_8),
              new byte[0],
              0644,
              0,
              0,
              Instant.EPOCH,
              size,
              data,
              0,
              0,
              Map.of());
      TarEntry read = read(written);
      assertNotNull(read);
      assertEquals(path, read.toString());
      assertEquals(size, read.size());
      assertEquals(size == 0 ? List.of(new DataRange(0, 0)) : data, read.data());
    }
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "the other readers are this machine's")
  void whatFollowsALargeFileWithHolesIsReadByOthers(@TempDir Path directory) throws IOException {
    long data = 9L << 30;
    TarEntry sparse = file("holes", 2 * data, List.of(new DataRange(512, data)));
    Path archive = directory.resolve("archive");
    try (RandomAccessFile file = new RandomAccessFile(archive.toFile(), "rw")) {
      file.write(TarWriter.header(sparse));
      // Of the data there is nothing on this machine's disk.
      file.seek(file.getFilePointer() + data);
      file.write(TarWriter.header(file("next", 0, List.of())));
      file.write(TarWriter.end());
    }
    String names =
        "import sys, tarfile; [print(m.name, m.size) for m in tarfile.open(sys.argv[1])]";
    String expected = "holes " + 2 * data + "\nnext 0\n";
    assertEquals(expected, Tool.run(directory, "python3", "-c", names, archive.toString()));
    for (String tar : List.of("tar", "bsdtar")) {
      assertEquals("holes\nnext\n", Tool.run(directory, tar, "-tf", archive.toString()), tar);
    }
  }

  private static TarEntry file(String name, long size, List<DataRange> ranges) {
    return new TarEntry(
        TarEntry.Type.REGULAR_FILE,
        name.getBytes(UTF_8),
        new byte[0],
        0644,
        0,
        0,
        Instant.EPOCH,
        size,
        ranges,
        0,
        0,
        Map.of());
  }

  @Test
  void sizesHaveNoBound() throws IOException {
    for (long size : new long[] {0, 1, 077777777777L, 1L << 33, 1L << 40, Long.MAX_VALUE}) {
      TarEntry written = file("a", size, List.of(new DataRange(0, size)));
      TarEntry read = read(written);
      assertNotNull(read);
      assertEquals(size, read.size());
    }
    assertEquals(511, TarWriter.padding(1));
    assertEquals(0, TarWriter.padding(1L << 40));
    assertNull(new TarReader(new ByteArrayInputStream(TarWriter.end()), 1).next());
  }
}
