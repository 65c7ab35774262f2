// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;
import java.util.List;

/**
 * struct hvm_start_info, version 1, which tells a PVH guest where things are (Xen's
 * docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h).
 */
final class StartInfo {
  private static final int MAGIC = 0x336e_c578;
  private static final int VERSION = 1;
  private static final int SIZE = 56;

  private static final int COMMAND_LINE = 24;
  private static final int RSDP = 32;
  private static final int MEMORY_MAP = 40;
  private static final int MEMORY_MAP_ENTRIES = 48;
  private static final int MEMORY_MAP_ENTRY_SIZE = 24;

  private StartInfo() {}

  /**
   * Writes it, and the memory map behind it; there are no modules.
   *
   * @param rsdp the ACPI root pointer's address
   */
  static void write(GuestMemory memory, long rsdp) {
    long info = MachineLayout.START_INFO;
    List<MemoryRange> ranges = MemoryRange.of(memory);
    memory.putInt(info, MAGIC);
    memory.putInt(info + 4, VERSION);
    memory.putLong(info + COMMAND_LINE, MachineLayout.COMMAND_LINE);
    memory.putLong(info + RSDP, rsdp);
    memory.putLong(info + MEMORY_MAP, info + SIZE);
    memory.putInt(info + MEMORY_MAP_ENTRIES, ranges.size());
    long entry = info + SIZE;
    for (MemoryRange range : ranges) {
      memory.putLong(entry, range.start());
      memory.putLong(entry + 8, range.size());
      memory.putInt(entry + 16, range.type());
      entry += MEMORY_MAP_ENTRY_SIZE;
    }
  }
}
