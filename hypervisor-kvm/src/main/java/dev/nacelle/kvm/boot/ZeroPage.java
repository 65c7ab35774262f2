// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.memory.GuestMemory;

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

  /** Address range types (ACPI 6.5 section 15, table 15.374). */
  private static final int RAM = 1;

  private static final int RESERVED = 2;

  private final GuestMemory memory;
  private int ranges;

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

    page.addRange(0, MachineLayout.CONVENTIONAL_END, RAM);
    page.addRange(MachineLayout.ACPI_TABLES, MachineLayout.ACPI_TABLES_END, RESERVED);
    page.addRange(MachineLayout.HIGH_MEMORY, memory.lowEnd(), RAM);
    if (memory.highEnd() > GuestMemory.HOLE_END) {
      page.addRange(GuestMemory.HOLE_END, memory.highEnd(), RAM);
    }
    memory.putByte(MachineLayout.ZERO_PAGE + E820_ENTRIES, (byte) page.ranges);
  }

  private void addRange(long start, long end, int type) {
    long entry = MachineLayout.ZERO_PAGE + E820_TABLE + (long) ranges * E820_ENTRY_SIZE;
    memory.putLong(entry, start);
    memory.putLong(entry + 8, end - start);
    memory.putInt(entry + 16, type);
    ranges++;
  }

  private void putShort(int offset, int value) {
    memory.putShort(MachineLayout.ZERO_PAGE + offset, (short) value);
  }

  private void putInt(int offset, int value) {
    memory.putInt(MachineLayout.ZERO_PAGE + offset, value);
  }
}
