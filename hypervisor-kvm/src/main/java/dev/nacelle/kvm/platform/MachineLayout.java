// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.platform;

import dev.nacelle.kvm.memory.GuestMemory;

/** Where things are in the guest's physical address space, and which interrupts they have. */
public final class MachineLayout {
  /** GDT, as the 64-bit boot protocol wants one (Documentation/arch/x86/boot.rst, section 1.15). */
  public static final long GDT = 0x500;

  /** What a PVH guest is told (struct hvm_start_info), and the map of the memory behind it. */
  public static final long START_INFO = 0x6000;

  /** The zero page (struct boot_params): 4 KiB. */
  public static final long ZERO_PAGE = 0x7000;

  /** The stack at the kernel's entry grows down from here. */
  public static final long BOOT_STACK = 0x8ff0;

  /** Page tables: one page map level 4, one directory pointer table, four directories. */
  public static final long PAGE_TABLES = 0x9000;

  /** The kernel's command line, with its terminating zero. */
  public static final long COMMAND_LINE = 0x2_0000;

  /** Where conventional memory ends; an extended BIOS data area would start here. */
  public static final long CONVENTIONAL_END = 0x9_fc00;

  /**
   * ACPI tables, the root pointer first: 0xE0000 to 0xFFFFF is where it is searched for (ACPI 6.5
   * section 5.2.5.1).
   */
  public static final long ACPI_TABLES = 0xe_0000;

  public static final long ACPI_TABLES_END = 0x10_0000;

  /** Where RAM above the first MiB starts, and kernels with it. */
  public static final long HIGH_MEMORY = 0x10_0000;

  /** Registers of virtio-mmio devices, {@link #MMIO_DEVICE_SIZE} each, in the hole below 4 GiB. */
  public static final long MMIO_DEVICES = 0xd000_0000L;

  public static final long MMIO_DEVICE_SIZE = 0x1000;

  /** Where chipsets have them, and KVM's in-kernel ones are. */
  public static final long IO_APIC = 0xfec0_0000L;

  public static final long LOCAL_APIC = 0xfee0_0000L;

  /** A page for KVM_SET_IDENTITY_MAP_ADDR, then three for KVM_SET_TSS_ADDR: below the BIOS. */
  public static final long IDENTITY_MAP = 0xfffb_c000L;

  public static final long TSS = 0xfffb_d000L;

  /** Serial port COM1 and its interrupt, as on every PC. */
  public static final int COM1 = 0x3f8;

  public static final int COM1_GSI = 4;

  /** The power registers that the FADT names: sleep control, sleep status and reset. */
  public static final int POWER_PORTS = 0x600;

  public static final int SLEEP_CONTROL_PORT = POWER_PORTS;
  public static final int SLEEP_STATUS_PORT = POWER_PORTS + 1;
  public static final int RESET_PORT = POWER_PORTS + 2;

  /** The value that the reset register wants. */
  public static final int RESET_VALUE = 1;

  /** SLP_TYP of the soft-off state in the sleep control register: any 3-bit value would do. */
  public static final int SOFT_OFF = 5;

  /** Where a guest that is not Linux ends itself with a status; QEMU's isa-debug-exit is there. */
  public static final int EXIT_PORT = 0xf4;

  /**
   * Interrupts for virtio-mmio devices. The I/O APIC has 24 inputs; 0 and 2 are the PIT's, 1 the
   * keyboard's, 3 and 4 serial ports', and on 8 KVM tracks end-of-interrupt for a clock.
   */
  private static final int[] DEVICE_GSIS = {
    5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23
  };

  /** How many virtio-mmio devices there can be, each with an interrupt of its own. */
  public static final int MAX_MMIO_DEVICES = DEVICE_GSIS.length;

  /** More would need x2APIC identifiers (ACPI 6.5 section 5.2.12.12); 255 is the broadcast. */
  public static final int MAX_CPUS = 254;

  static {
    assert MMIO_DEVICES >= GuestMemory.HOLE_START && TSS < GuestMemory.HOLE_END;
  }

  private MachineLayout() {}

  /** The interrupt of the n-th virtio-mmio device. */
  public static int deviceGsi(int n) {
    return DEVICE_GSIS[n];
  }

  /** The first register of the n-th virtio-mmio device. */
  public static long deviceAddress(int n) {
    return MMIO_DEVICES + n * MMIO_DEVICE_SIZE;
  }
}
