// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.memory;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.MemoryRegion;
import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.IoVector;
import dev.nacelle.kvm.sys.Mapping;
import java.io.IOException;
import java.nio.BufferOverflowException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GuestMemoryTest {
  private static final long MIB = 1 << 20;
  private static final long GIB = 1 << 30;

  @Test
  void discardsWholeRangesButNotWhatHasPagesOfAFile(@TempDir Path directory) throws Exception {
    byte[] content = new byte[2 * 4096];
    Arrays.fill(content, (byte) 7);
    Path path = Files.write(directory.resolve("file"), content);
    try (GuestMemory memory = GuestMemory.allocate(16 * 4096);
        FileDescriptor file = FileDescriptor.openFile(path, false)) {
      memory.mapCopyOnWrite(file, 0, 8 * 4096, 4096);
      memory.mapCopyOnWrite(file, 4096, 4 * 4096, 4096);
      for (int page = 0; page < 16; page++) {
        memory.putByte(page * 4096, (byte) 9);
      }
      memory.discard(2 * 4096, 12 * 4096);
      String left = "";
      for (int page = 0; page < 16; page++) {
        left += memory.getByte(page * 4096);
      }
      assertEquals("9900900090000099", left);
      assertThrows(GuestAddressException.class, () -> memory.discard(15 * 4096, 2 * 4096));
    }
  }

  @Test
  void tellsHowMuchIsInTheHostsMemory(@TempDir Path directory) throws Exception {
    Path path = Files.write(directory.resolve("file"), new byte[2 * 4096]);
    GuestMemory memory = GuestMemory.allocate(2 * GIB);
    try (FileDescriptor file = FileDescriptor.openFile(path, false)) {
      memory.preferHugePages(false);
      assertEquals(0, memory.resident());
      for (long page : new long[] {0, 7, 2 * GIB / 4096 - 1}) {
        memory.putByte(page * 4096, (byte) 1);
      }
      assertEquals(3 * 4096, memory.resident());
      memory.discard(7 * 4096, 4096);
      assertEquals(2 * 4096, memory.resident());
      memory.mapCopyOnWrite(file, 0, 8 * 4096, 2 * 4096);
      memory.putByte(8 * 4096, (byte) 1);
      assertEquals(4 * 4096, memory.resident());
    } finally {
      memory.close();
    }
    assertEquals(0, memory.resident());
  }

  @Test
  void keepsIntegersLittleEndian() {
    try (GuestMemory memory = GuestMemory.allocate(MIB)) {
      memory.putLong(8, 0x0807060504030201L);
      assertEquals(1, memory.getByte(8));
      assertEquals(0x0201, memory.getShort(8));
      assertEquals(0x04030201, memory.getInt(8));
      memory.putInt(8, 0x14131211);
      memory.putShort(12, (short) 0x2221);
      memory.putByte(14, (byte) 0x31);
      assertEquals(0x0831_2221_1413_1211L, memory.getLong(8));
      memory.putShortRelease(16, (short) 0x4241);
      assertEquals(0x41, memory.getByte(16));
      assertEquals(0x4241, memory.getShortAcquire(16));
    }
  }

  /** The flags of proc(5) in smaps: dc, do not copy on fork; dd, do not include in core dump. */
  @ParameterizedTest
  @ValueSource(longs = {3 * MIB + 4096, 65536})
  void isInNoChildAndInNoCoreDump(long size) throws IOException {
    long before = keptPrivate();
    try (GuestMemory memory = GuestMemory.allocate(size)) {
      assertEquals(before + size / 1024, keptPrivate());
    }
  }

  /** How much is, in KiB. */
  private static long keptPrivate() throws IOException {
    return MemoryRegion.all().stream()
        .filter(MemoryRegion::isKeptPrivate)
        .mapToLong(region -> region.kib().get("Size"))
        .sum();
  }

  @Test
  void accessesScalarsUnaligned() {
    try (GuestMemory memory = GuestMemory.allocate(MIB)) {
      memory.putLong(0xfff, 0x1122334455667788L);
      assertEquals(0x1122334455667788L, memory.getLong(0xfff));
    }
  }

  @Test
  void refusesUnalignedOrderedAccess() {
    try (GuestMemory memory = GuestMemory.allocate(MIB)) {
      GuestAddressException e =
          assertThrows(GuestAddressException.class, () -> memory.getShortAcquire(0x1001));
      assertEquals(
          "not aligned to its size: 2 bytes at guest physical address 0x1001", e.getMessage());
      assertThrows(GuestAddressException.class, () -> memory.putShortRelease(3, (short) 0));
    }
  }

  @ParameterizedTest
  @ValueSource(
      longs = {MIB - 7, MIB, GIB, GuestMemory.HOLE_END, -1, -8, Long.MAX_VALUE, Long.MIN_VALUE})
  void refusesAccessOutsideRam(long gpa) {
    try (GuestMemory memory = GuestMemory.allocate(MIB)) {
      GuestAddressException e =
          assertThrows(GuestAddressException.class, () -> memory.getLong(gpa));
      assertTrue(e.getMessage().contains("8 bytes"), e::getMessage);
      assertTrue(e.getMessage().contains("0x" + Long.toHexString(gpa)), e::getMessage);
      assertThrows(GuestAddressException.class, () -> memory.putLong(gpa, 0));
      assertThrows(GuestAddressException.class, () -> memory.getBytes(gpa, new byte[8], 0, 8));
      assertThrows(GuestAddressException.class, () -> memory.putBytes(gpa, new byte[8], 0, 8));
    }
  }

  @Test
  void containsWhatIsInsideWithoutOverflow() {
    try (GuestMemory memory = GuestMemory.allocate(MIB)) {
      assertTrue(memory.contains(0, MIB));
      assertTrue(memory.contains(MIB - 1, 1));
      assertTrue(memory.contains(10, 0));
      assertFalse(memory.contains(0, MIB + 1));
      assertFalse(memory.contains(1, MIB));
      assertFalse(memory.contains(1, Long.MAX_VALUE));
      assertFalse(memory.contains(1, -1));
      assertFalse(memory.contains(-1, 2));
      assertFalse(memory.contains(Long.MAX_VALUE, Long.MAX_VALUE));
    }
  }

  @Test
  void continuesAboveTheHole() {
    try (GuestMemory memory = GuestMemory.allocate(5 * GIB)) {
      assertEquals(GuestMemory.HOLE_START, memory.lowEnd());
      assertEquals(GuestMemory.HOLE_END + 2 * GIB, memory.highEnd());
      memory.putLong(GuestMemory.HOLE_START - 8, 1);
      memory.putLong(GuestMemory.HOLE_END, 2);
      assertEquals(1, memory.getLong(GuestMemory.HOLE_START - 8));
      assertEquals(2, memory.getLong(GuestMemory.HOLE_END));
      assertFalse(memory.contains(GuestMemory.HOLE_START, 1));
      assertFalse(memory.contains(GuestMemory.HOLE_END - 1, 2));
      assertFalse(memory.contains(GuestMemory.HOLE_START - 8, 16));
      assertTrue(memory.contains(GuestMemory.HOLE_END, 2 * GIB));
      assertFalse(memory.contains(GuestMemory.HOLE_END, 2 * GIB + 1));

      List<Long> starts = new ArrayList<>();
      memory.forEachRange(
          (gpa, mapping, offset, length) -> starts.addAll(List.of(gpa, offset, length)));
      assertEquals(List.of(0L, 0L, 3 * GIB, GuestMemory.HOLE_END, 3 * GIB, 2 * GIB), starts);
    }
  }

  @Test
  void crossesSlices() {
    try (GuestMemory memory = GuestMemory.allocate(2 * GIB)) {
      memory.putLong(GIB - 3, 0x1122334455667788L);
      assertEquals(0x1122334455667788L, memory.getLong(GIB - 3));
      assertEquals(0x55, memory.getByte(GIB));

      byte[] bytes = new byte[10_000];
      new Random(1).nextBytes(bytes);
      memory.putBytes(GIB - 5_000, bytes, 0, bytes.length);
      byte[] back = new byte[bytes.length];
      memory.getBytes(GIB - 5_000, back, 0, back.length);
      assertArrayEquals(bytes, back);

      ByteBuffer buffer = ByteBuffer.allocateDirect(bytes.length);
      memory.getBytes(GIB - 5_000, buffer, bytes.length);
      assertEquals(ByteBuffer.wrap(bytes), buffer.flip());
      memory.putBytes(2 * GIB - 10_000, buffer, bytes.length);
      assertEquals(0, buffer.remaining());
      memory.getBytes(2 * GIB - 10_000, back, 0, back.length);
      assertArrayEquals(bytes, back);
    }
  }

  @Test
  void copiesNothingWhenTheBufferIsTooSmall() {
    try (GuestMemory memory = GuestMemory.allocate(MIB)) {
      ByteBuffer buffer = ByteBuffer.allocate(4);
      assertThrows(BufferOverflowException.class, () -> memory.getBytes(0, buffer, 5));
      assertThrows(BufferUnderflowException.class, () -> memory.putBytes(0, buffer, 5));
      assertEquals(0, buffer.position());
    }
  }

  @Test
  void movesBytesBetweenAFileAndMemory(@TempDir Path directory) throws Exception {
    byte[] bytes = new byte[10_000];
    new Random(2).nextBytes(bytes);
    Path path = directory.resolve("file");
    Files.write(path, bytes);
    try (GuestMemory memory = GuestMemory.allocate(MIB);
        Mapping array = Mapping.anonymous(4096);
        FileDescriptor file = FileDescriptor.openFile(path, true)) {
      assertEquals(10_000, file.size());
      assertEquals(9_000, memory.readFrom(file, 1_000, 0x5001, 20_000));
      byte[] back = new byte[9_000];
      memory.getBytes(0x5001, back, 0, back.length);
      assertArrayEquals(java.util.Arrays.copyOfRange(bytes, 1_000, 10_000), back);

      IoVector vector = new IoVector(array, 0, 2);
      memory.addTo(vector, 0x5001, 4_000);
      memory.addTo(vector, 0x5001 + 4_000, 5_000);
      assertEquals(9_000, vector.window(20_000));
      assertEquals(9_000, file.write(10_000, vector));
      assertEquals(0, file.sync());
      assertArrayEquals(
          back, java.util.Arrays.copyOfRange(Files.readAllBytes(path), 10_000, 19_000));

      assertThrows(GuestAddressException.class, () -> memory.readFrom(file, 0, MIB - 10, 11));
      assertThrows(GuestAddressException.class, () -> memory.addTo(vector, MIB - 10, 11));
    }
  }

  @Test
  void throwsAfterClose() {
    GuestMemory memory = GuestMemory.allocate(MIB);
    memory.close();
    memory.close();
    assertThrows(IllegalStateException.class, () -> memory.getInt(0));
    assertThrows(IllegalStateException.class, () -> memory.putBytes(0, new byte[1], 0, 1));
  }

  @ParameterizedTest
  @ValueSource(longs = {0, -4096, 4095, 4097})
  void refusesASizeThatIsNotWholePages(long size) {
    assertThrows(IllegalArgumentException.class, () -> GuestMemory.allocate(size));
  }
}
