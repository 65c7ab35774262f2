// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.spi.DiskFormat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.NonReadableChannelException;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Disks that grow, which QEMU's reader and writer of VHDXs judges. */
class DynamicVhdxTest {
  private static final long MIB = 1L << 20;
  private static final long GIB = 1L << 30;
  private static final long TIB = 1L << 40;

  @TempDir Path temp;

  private Path disk() throws IOException {
    Path disk = temp.resolve("disk.vhdx");
    Files.deleteIfExists(disk);
    return Files.createFile(disk);
  }

  private String qemu(String program, String... arguments) {
    List<String> command = new ArrayList<>(List.of(program));
    command.addAll(List.of(arguments));
    return Tool.run(temp, command);
  }

  private JsonNode info(Path disk) throws IOException {
    return new ObjectMapper()
        .readTree(qemu("qemu-img", "info", "--output=json", "-f", "vhdx", disk.toString()));
  }

  private void assertWhole(Path disk) {
    String answer = qemu("qemu-img", "check", "-f", "vhdx", disk.toString());
    assertTrue(answer.contains("No errors were found"), answer);
  }

  private static void write(SeekableByteChannel channel, long at, byte[] bytes) throws IOException {
    ByteBuffer source = ByteBuffer.wrap(bytes);
    channel.position(at);
    while (source.hasRemaining()) {
      assertTrue(channel.write(source) > 0);
    }
  }

  @ParameterizedTest
  @ValueSource(
      longs = {4096, MIB, 64 * MIB + 4096, 4 * GIB, 5 * GIB, 4 * TIB, 4 * TIB + 4096, 64 * TIB})
  void readersSeeTheSizeAndZeros(long size) throws Exception {
    Path disk = disk();
    DynamicVhdx.create(disk, size).close();
    assertEquals(size, info(disk).get("virtual-size").longValue());
    assertWhole(disk);
    String last = size - 4096 + " 4096";
    for (String part : new String[] {"0 4096", last}) {
      String answer =
          qemu("qemu-io", "-r", "-f", "vhdx", "-c", "read -P 0 " + part, disk.toString());
      assertFalse(answer.contains("verification failed"), answer);
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {16 * MIB, 5 * GIB, 100 * GIB})
  void filesystemIsTheOneOfARawImage(long size) throws Exception {
    UUID id = UUID.randomUUID();
    Path raw = temp.resolve("raw");
    try (Ext4Writer writer = Ext4Writer.create(raw, Ext4Options.scratch(id, size))) {
      writer.finish();
    }
    Path disk = disk();
    DiskFormat format = new GrowingDisk();
    try (Ext4Writer writer =
        Ext4Writer.create(format.open(disk, size), Ext4Options.scratch(id, size))) {
      writer.finish();
    }
    assertWhole(disk);
    // Of a few blocks wherever the kernel wants copies of the superblock.
    assertTrue(Files.size(disk) < 32 * MIB, () -> disk.toFile().length() + " bytes");
    if (size <= 5 * GIB) { // more takes long
      String answer =
          qemu("qemu-img", "compare", "-f", "raw", "-F", "vhdx", raw.toString(), disk.toString());
      assertTrue(answer.contains("identical"), answer);
    }
  }

  @Test
  void contentIsWhereItWasWritten() throws Exception {
    long size = 9 * GIB;
    Random random = new Random(1);
    Path raw = temp.resolve("raw");
    Path disk = disk();
    try (FileChannel wanted =
            FileChannel.open(raw, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        DynamicVhdx vhdx = DynamicVhdx.create(disk, size)) {
      write(wanted, size - 1, new byte[1]);
      // The borders of blocks, and of the chunks of 4 GiB that have entries of their own.
      for (long at : new long[] {0, MIB - 1, 4 * GIB - 3000, 8 * GIB - 1, size - 70_000, 77}) {
        byte[] bytes = new byte[70_000];
        random.nextBytes(bytes);
        write(wanted, at, bytes);
        write(vhdx, at, bytes);
      }
      assertEquals(77 + 70_000, vhdx.position());
      assertEquals(size, vhdx.size());
    }
    assertWhole(disk);
    String answer =
        qemu("qemu-img", "compare", "-f", "raw", "-F", "vhdx", raw.toString(), disk.toString());
    assertTrue(answer.contains("identical"), answer);
  }

  @Test
  void fileGrowsAsSomebodyElseWrites() throws Exception {
    Path disk = disk();
    try (DynamicVhdx vhdx = DynamicVhdx.create(disk, 4 * GIB)) {
      write(vhdx, 0, new byte[] {1, 2, 3});
    }
    final long before = Files.size(disk);
    qemu("qemu-io", "-f", "vhdx", "-c", "write -P 7 3G 5M", disk.toString());
    String answer =
        qemu(
            "qemu-io",
            "-f",
            "vhdx",
            "-c",
            "read -P 7 3G 5M",
            "-c",
            "read -P 0 2G 5M",
            disk.toString());
    assertFalse(answer.contains("verification failed"), answer);
    assertTrue(Files.size(disk) >= before + 5 * MIB);
    assertWhole(disk);
  }

  @Test
  void blocksAndWhatSaysWhereTheyAreAreAligned() throws Exception {
    Path disk = disk();
    try (DynamicVhdx vhdx = DynamicVhdx.create(disk, 4 * GIB)) {
      write(vhdx, 5, new byte[] {1});
      write(vhdx, 2 * MIB, new byte[] {1});
    }
    ByteBuffer file = ByteBuffer.wrap(Files.readAllBytes(disk)).order(ByteOrder.LITTLE_ENDIAN);
    assertEquals(6 * MIB, file.capacity());
    int bat = (int) (3 * MIB);
    assertEquals(4 * MIB | 6, file.getLong(bat));
    assertEquals(0, file.getLong(bat + 8));
    assertEquals(5 * MIB | 6, file.getLong(bat + 16));
    assertEquals(1, file.get((int) (4 * MIB) + 5));
  }

  @ParameterizedTest
  @ValueSource(longs = {0, -4096, 512, 4097, 64 * TIB + 4096})
  void sizesThatCannotBeAreRefused(long size) throws Exception {
    Path disk = disk();
    assertThrows(IllegalArgumentException.class, () -> DynamicVhdx.create(disk, size));
    assertEquals(0, Files.size(disk));
  }

  @Test
  void whatADiskIsNotIsRefused() throws Exception {
    try (DynamicVhdx vhdx = DynamicVhdx.create(disk(), MIB)) {
      vhdx.position(MIB - 1);
      ByteBuffer two = ByteBuffer.allocate(2);
      assertEquals(1, vhdx.write(two));
      assertThrows(IOException.class, () -> vhdx.write(two));
      assertEquals(MIB, vhdx.position());
      assertEquals(0, vhdx.write(ByteBuffer.allocate(0)));
      assertThrows(NonReadableChannelException.class, () -> vhdx.read(ByteBuffer.allocate(1)));
      assertThrows(UnsupportedOperationException.class, () -> vhdx.truncate(0));
      assertTrue(vhdx.isOpen());
      vhdx.close();
      assertFalse(vhdx.isOpen());
    }
  }
}
