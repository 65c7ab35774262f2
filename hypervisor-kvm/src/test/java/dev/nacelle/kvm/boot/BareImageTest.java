// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BareImageTest {
  private final GuestMemory memory = GuestMemory.allocate(4 << 20);
  private final KvmRegs regs = new KvmRegs();
  private final KvmSregs sregs = new KvmSregs();

  @TempDir Path directory;

  @AfterEach
  void close() {
    memory.close();
  }

  private void load(ByteBuffer image, String commandLine) throws IOException {
    Path file = Files.write(directory.resolve("image"), image.array());
    new BareImage(file, commandLine).load(memory, new Hardware(1, 2)).apply(regs, sregs);
  }

  private void assertRefused(ByteBuffer image, String commandLine, String expected) {
    HypervisorException e = assertThrows(HypervisorException.class, () -> load(image, commandLine));
    assertEquals(Stage.CREATE, e.stage());
    assertTrue(e.getMessage().contains(expected), e::getMessage);
  }

  private String commandLine(long pointer) {
    byte[] line = new byte[9];
    memory.getBytes(pointer, line, 0, line.length);
    return new String(line, StandardCharsets.US_ASCII);
  }

  @Test
  void pvhImageStartsInProtectedModeWithItsStartInfo() throws Exception {
    load(BareElf.pvh("90"), "console=x");
    assertEquals(0x10_0000, regs.get(KvmRegs.RIP));
    assertEquals(0x11, sregs.get(KvmSregs.CR0));
    assertEquals(0, sregs.get(KvmSregs.EFER));
    long info = regs.get(KvmRegs.RBX);
    assertEquals(0x336e_c578, memory.getInt(info));
    assertEquals(1, memory.getInt(info + 4), "version");
    assertEquals(0, memory.getInt(info + 12), "modules");
    assertEquals("console=x", commandLine(memory.getLong(info + 24)));
    assertEquals(0x2052_5450_2044_5352L, memory.getLong(memory.getLong(info + 32)), "RSD PTR ");
    assertEquals(3, memory.getInt(info + 48));
    long last = memory.getLong(info + 40) + 2 * 24;
    assertEquals(1 << 20, memory.getLong(last));
    assertEquals(3 << 20, memory.getLong(last + 8));
    assertEquals(1, memory.getInt(last + 16), "RAM");
  }

  @Test
  void otherImageStartsInLongModeWithItsZeroPage() throws Exception {
    load(BareElf.longMode("90"), "console=x");
    assertEquals(0x10_0000, regs.get(KvmRegs.RIP));
    assertEquals(0x500, sregs.get(KvmSregs.EFER));
    long page = regs.get(KvmRegs.RSI);
    assertEquals("console=x", commandLine(memory.getInt(page + 0x228)));
    assertEquals(9, memory.getInt(page + 0x238));
    assertEquals(3, memory.getByte(page + 0x1e8));
  }

  @Test
  void entryIsFoundBehindOtherNotes() throws Exception {
    ByteBuffer image = BareElf.pvh("90");
    byte[] entry = new byte[24];
    image.get(BareElf.NOTE, entry);
    // A note "GNU" of 5 bytes, padded to 8, in front of it.
    image.putInt(BareElf.NOTE, 4).putInt(BareElf.NOTE + 4, 5).putInt(BareElf.NOTE + 8, 18);
    image.putInt(BareElf.NOTE + 12, 0x55_4e47).put(BareElf.NOTE + 24, entry);
    load(image.putLong(152, 48), "");
    assertEquals(0x11, sregs.get(KvmSregs.CR0));
  }

  @Test
  void damagedNotesAreRefusedOrPassedOver() throws Exception {
    assertRefused(BareElf.pvh("90").putLong(128, 1 << 20), "", "notes are not inside the file");
    assertRefused(BareElf.pvh("90").putLong(152, -1), "", "notes are not inside the file");
    assertRefused(BareElf.pvh("90").putInt(BareElf.NOTE + 20, 1), "", "above 4 GiB");
    assertRefused(
        BareElf.pvh("90").putInt(BareElf.NOTE + 16, 0x20_0000),
        "",
        "no loadable segment holds its PVH entry point 0x200000");
    for (int size : new int[] {-1, Integer.MAX_VALUE, 100}) {
      load(BareElf.pvh("90").putInt(BareElf.NOTE, size), "");
      assertEquals(0x500, sregs.get(KvmSregs.EFER), "no PVH entry was found");
      load(BareElf.pvh("90").putInt(BareElf.NOTE + 4, size), "");
      assertEquals(0x500, sregs.get(KvmSregs.EFER), "no PVH entry was found");
    }
  }

  @Test
  void segmentsThatOverlapAreRefusedInWhicheverOrder() throws Exception {
    for (long address : new long[] {BareElf.ADDRESS + 0xfff, BareElf.ADDRESS - 0xfff}) {
      // Two pages without content: one byte of them is the other's, if anywhere.
      ByteBuffer image = BareElf.longMode("90").putShort(56, (short) 2).putLong(104, 0x1000);
      image.putInt(120, 1).putLong(144, Math.max(address, BareElf.ADDRESS)).putLong(160, 0x1000);
      image.putLong(88, Math.max(BareElf.ADDRESS, 2L * BareElf.ADDRESS - address));
      image.putLong(24, image.getLong(88));
      assertRefused(
          image,
          "",
          address > BareElf.ADDRESS
              ? "segment 1 overlaps segment 0 at 0x100fff"
              : "segment 0 overlaps segment 1 at 0x100fff");
      load(image.putLong(160, 0xfff).putLong(104, 0xfff), "");
    }
  }

  @Test
  void anElf32ImageIsRefusedByItsClass() {
    assertRefused(BareElf.pvh("90").put(4, (byte) 1), "", "(ELF64)");
  }

  @Test
  void whatDoesNotFitIsRefused() {
    assertRefused(BareElf.pvh("90"), "x".repeat(2048), "2048 bytes");
    assertRefused(
        BareElf.pvh("90").putLong(104, 4 << 20), "", "memory of 4 MiB is too small: the image");
    assertRefused(BareElf.pvh("90").putLong(88, 0x1000), "", "at physical address 0x1000");
    assertRefused(ByteBuffer.wrap(new byte[100]), "", "ELF magic");
  }
}
