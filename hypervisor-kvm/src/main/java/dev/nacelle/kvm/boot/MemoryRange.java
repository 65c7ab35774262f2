// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * A range of the physical address space, as guests are told of it.
 *
 * @param type address range type (ACPI 6.5 section 15, table 15.374)
 */
record MemoryRange(long start, long size, int type) {
  private static final int RAM = 1;
  private static final int RESERVED = 2;

  /** All of the memory, less the page-aligned surroundings of what must stay: the ACPI tables. */
  static List<MemoryRange> of(GuestMemory memory) {
    List<MemoryRange> ranges = new ArrayList<>();
    ranges.add(range(0, MachineLayout.CONVENTIONAL_END, RAM));
    ranges.add(range(MachineLayout.ACPI_TABLES, MachineLayout.ACPI_TABLES_END, RESERVED));
    ranges.add(range(MachineLayout.HIGH_MEMORY, memory.lowEnd(), RAM));
    if (memory.highEnd() > GuestMemory.HOLE_END) {
      ranges.add(range(GuestMemory.HOLE_END, memory.highEnd(), RAM));
    }
    return ranges;
  }

  private static MemoryRange range(long start, long end, int type) {
    return new MemoryRange(start, end - start, type);
  }
}
