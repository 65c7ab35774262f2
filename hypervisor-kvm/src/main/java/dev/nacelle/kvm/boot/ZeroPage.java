// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;
import java.util.List;

/**
 * struct boot_params, which tells Linux where things are (Documentation/arch/x86/zero-page.rst;
 * fields of the setup header: boot.rst, section 1.3).
 */
final class ZeroPage {
  private static final int ACPI_RSDP_ADDRESS = 0x070;
  private static final int E820_ENTRIES = 0x1e8;
  private static final int BOOT_FLAG = 0x1fe;
  private static final int HEADER = 0x202;
  private static final int VERSION = 0x206;
  private static final int TYPE_OF_LOADER = 0x210;
  private static final int RAMDISK_IMAGE = 0x218;
  private static final int RAMDISK_SIZE = 0x21c;
  private static final int COMMAND_LINE_POINTER = 0x228;
  private static final int COMMAND_LINE_SIZE = 0x238;
  private static final int E820_TABLE = 0x2d0;

  private static final int BOOT_FLAG_MAGIC = 0xaa55;
  private static final int HEADER_MAGIC = 0x5372_6448; // "HdrS"

  /** 2.14, the first with the RSDP's address. */
  private static final int PROTOCOL_VERSION = 0x020e;

  private static final int UNDEFINED_LOADER = 0xff;

  private static final int E820_ENTRY_SIZE = 20;

  private final GuestMemory memory;

  private ZeroPage(GuestMemory memory) {
    this.memory = memory;
  }

  /**
   * Writes it.
   *
   * @param rsdp the ACPI root pointer's address
   * @param commandLineLength in bytes, without its terminating zero
   * @param initramfs its address, or 0
   */
  static void write(
      GuestMemory memory, long rsdp, int commandLineLength, long initramfs, long initramfsSize) {
    ZeroPage page = new ZeroPage(memory);
    page.putShort(BOOT_FLAG, BOOT_FLAG_MAGIC);
    page.putInt(HEADER, HEADER_MAGIC);
    page.putShort(VERSION, PROTOCOL_VERSION);
    memory.putByte(MachineLayout.ZERO_PAGE + TYPE_OF_LOADER, (byte) UNDEFINED_LOADER);
    memory.putLong(MachineLayout.ZERO_PAGE + ACPI_RSDP_ADDRESS, rsdp);
    page.putInt(COMMAND_LINE_POINTER, (int) MachineLayout.COMMAND_LINE);
    page.putInt(COMMAND_LINE_SIZE, commandLineLength);
    page.putInt(RAMDISK_IMAGE, (int) initramfs);
    page.putInt(RAMDISK_SIZE, (int) initramfsSize);

    List<MemoryRange> ranges = MemoryRange.of(memory);
    long entry = MachineLayout.ZERO_PAGE + E820_TABLE;
    for (MemoryRange range : ranges) {
      memory.putLong(entry, range.start());
      memory.putLong(entry + 8, range.size());
      memory.putInt(entry + 16, range.type());
      entry += E820_ENTRY_SIZE;
    }
    memory.putByte(MachineLayout.ZERO_PAGE + E820_ENTRIES, (byte) ranges.size());
  }

  private void putShort(int offset, int value) {
    memory.putShort(MachineLayout.ZERO_PAGE + offset, (short) value);
  }

  private void putInt(int offset, int value) {
    memory.putInt(MachineLayout.ZERO_PAGE + offset, value);
  }
}
