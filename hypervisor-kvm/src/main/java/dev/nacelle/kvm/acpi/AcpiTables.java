// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.acpi;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.platform.MachineLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The ACPI tables (ACPI 6.5 chapter 5) of a hardware-reduced machine (section 4.1): processors, the
 * I/O APIC, virtio-mmio devices, COM1, and registers to power off and reset with. Without the fixed
 * hardware of a PC, a kernel does not look for it either: no PM timer, no PIC, no i8042, no CMOS
 * clock.
 */
public final class AcpiTables {
  private static final int HEADER_SIZE = 36;
  private static final int CHECKSUM = 9;

  private static final String OEM_ID = "NACELL";
  private static final String OEM_TABLE_ID = "NACELLE ";
  private static final int CREATOR_ID = 0x4c45_434e; // "NCEL"

  // FADT, section 5.2.9, table 5.9.
  private static final int FADT_SIZE = 276;
  private static final int FADT_REVISION = 6;
  private static final int FADT_MINOR_VERSION = 5;
  private static final int IAPC_BOOT_ARCH = 109;
  private static final int FLAGS = 112;
  private static final int RESET_REG = 116;
  private static final int RESET_VALUE = 128;
  private static final int MINOR_VERSION = 131;
  private static final int X_DSDT = 140;
  private static final int SLEEP_CONTROL_REG = 244;
  private static final int SLEEP_STATUS_REG = 256;
  private static final int HYPERVISOR_VENDOR = 268;

  // Section 5.2.9.3, table 5.11. Not set: bit 0, devices on the ISA bus; bit 1, an 8042.
  private static final int BOOT_ARCH_VGA_NOT_PRESENT = 1 << 2;
  private static final int BOOT_ARCH_CMOS_RTC_NOT_PRESENT = 1 << 5;

  // Section 5.2.9, table 5.10.
  private static final int FLAG_WBINVD = 1;
  private static final int FLAG_NO_FIXED_POWER_BUTTON = 1 << 4;
  private static final int FLAG_NO_FIXED_SLEEP_BUTTON = 1 << 5;
  private static final int FLAG_RESET_REG_SUPPORTED = 1 << 10;
  private static final int FLAG_HW_REDUCED_ACPI = 1 << 20;

  private static final int SYSTEM_IO = 1;
  private static final int BYTE_ACCESS = 1;

  private final GuestMemory memory;
  private long next = MachineLayout.ACPI_TABLES;

  private AcpiTables(GuestMemory memory) {
    this.memory = memory;
  }

  /**
   * Writes all tables.
   *
   * @return the address of the root system description pointer
   */
  public static long write(GuestMemory memory, Hardware hardware) {
    AcpiTables tables = new AcpiTables(memory);
    long rsdp = tables.reserve(36);
    long dsdt = tables.put(dsdt(hardware.mmioDevices()));
    long fadt = tables.put(fadt(dsdt));
    long madt = tables.put(madt(hardware.cpus()));
    long xsdt = tables.put(xsdt(fadt, madt));
    byte[] pointer = rsdp(xsdt);
    memory.putBytes(rsdp, pointer, 0, pointer.length);
    return rsdp;
  }

  private long reserve(int size) {
    long address = next;
    next = address + size + 15 & ~15L;
    if (next > MachineLayout.ACPI_TABLES_END) {
      throw new IllegalArgumentException("the ACPI tables do not fit below 1 MiB");
    }
    return address;
  }

  private long put(byte[] table) {
    long address = reserve(table.length);
    memory.putBytes(address, table, 0, table.length);
    return address;
  }

  /** RSDP, section 5.2.5.3. */
  private static byte[] rsdp(long xsdt) {
    ByteBuffer bytes = littleEndian(36);
    putAscii(bytes, 0, "RSD PTR ");
    putAscii(bytes, 9, OEM_ID);
    bytes.put(15, (byte) 2).putInt(20, 36).putLong(24, xsdt);
    bytes.put(8, checksum(bytes.array(), 20)); // of what ACPI 1.0 knew
    bytes.put(32, checksum(bytes.array(), 36));
    return bytes.array();
  }

  /** XSDT, section 5.2.8. */
  private static byte[] xsdt(long... tables) {
    ByteBuffer content = littleEndian(8 * tables.length);
    for (long table : tables) {
      content.putLong(table);
    }
    return table("XSDT", 1, content.array());
  }

  /** FADT, section 5.2.9. */
  private static byte[] fadt(long dsdt) {
    ByteBuffer bytes = littleEndian(FADT_SIZE);
    bytes
        .putShort(
            IAPC_BOOT_ARCH, (short) (BOOT_ARCH_VGA_NOT_PRESENT | BOOT_ARCH_CMOS_RTC_NOT_PRESENT))
        .putInt(
            FLAGS,
            FLAG_WBINVD
                | FLAG_NO_FIXED_POWER_BUTTON
                | FLAG_NO_FIXED_SLEEP_BUTTON
                | FLAG_RESET_REG_SUPPORTED
                | FLAG_HW_REDUCED_ACPI)
        .put(RESET_VALUE, (byte) MachineLayout.RESET_VALUE)
        .put(MINOR_VERSION, (byte) FADT_MINOR_VERSION)
        .putLong(X_DSDT, dsdt);
    putPort(bytes, RESET_REG, MachineLayout.RESET_PORT);
    putPort(bytes, SLEEP_CONTROL_REG, MachineLayout.SLEEP_CONTROL_PORT);
    putPort(bytes, SLEEP_STATUS_REG, MachineLayout.SLEEP_STATUS_PORT);
    putAscii(bytes, HYPERVISOR_VENDOR, OEM_TABLE_ID);
    byte[] content = new byte[FADT_SIZE - HEADER_SIZE];
    bytes.get(HEADER_SIZE, content);
    return table("FACP", FADT_REVISION, content);
  }

  /** Generic address structure, section 5.2.3.2, of an 8-bit register. */
  private static void putPort(ByteBuffer bytes, int offset, int port) {
    bytes
        .put(offset, (byte) SYSTEM_IO)
        .put(offset + 1, (byte) 8)
        .put(offset + 3, (byte) BYTE_ACCESS)
        .putLong(offset + 4, port);
  }

  /** MADT, section 5.2.12. */
  private static byte[] madt(int cpus) {
    ByteBuffer bytes = littleEndian(8 + 8 * cpus + 12 + 6);
    // Flags 0: there are no 8259 interrupt controllers to disable (section 5.2.12, table 5.20).
    bytes.putInt((int) MachineLayout.LOCAL_APIC).putInt(0);
    for (int i = 0; i < cpus; i++) {
      // Processor local APIC, section 5.2.12.2: enabled.
      bytes.put((byte) 0).put((byte) 8).put((byte) i).put((byte) i).putInt(1);
    }
    // I/O APIC, section 5.2.12.3: identifier 0, interrupts from 0.
    bytes.put((byte) 1).put((byte) 12).putShort((short) 0);
    bytes.putInt((int) MachineLayout.IO_APIC).putInt(0);
    // Local APIC NMI, section 5.2.12.7: LINT1 of all processors.
    bytes.put((byte) 4).put((byte) 6).put((byte) 0xff).putShort((short) 0).put((byte) 1);
    return table("APIC", 5, bytes.array());
  }

  /** DSDT, section 5.2.11.1. */
  private static byte[] dsdt(int mmioDevices) {
    List<byte[]> devices = new ArrayList<>();
    devices.add(
        Aml.device(
            "COM1",
            Aml.named("_HID", Aml.eisaId("PNP0501")), // 16550A-compatible serial port
            Aml.named("_UID", Aml.integer(1)),
            Aml.named(
                "_CRS",
                Aml.resources(
                    Aml.ioPorts(MachineLayout.COM1, 8),
                    Aml.edgeInterrupt(MachineLayout.COM1_GSI)))));
    for (int i = 0; i < mmioDevices; i++) {
      devices.add(
          Aml.device(
              String.format("VR%02X", i),
              // What Linux's virtio_mmio driver matches (drivers/virtio/virtio_mmio.c).
              Aml.named("_HID", Aml.string("LNRO0005")),
              Aml.named("_UID", Aml.integer(i)),
              Aml.named(
                  "_CRS",
                  Aml.resources(
                      Aml.memory32Fixed(
                          MachineLayout.deviceAddress(i), MachineLayout.MMIO_DEVICE_SIZE),
                      Aml.edgeInterrupt(MachineLayout.deviceGsi(i))))));
    }
    byte[] scope = Aml.scope("\\_SB_", devices.toArray(byte[][]::new));
    // Section 7.4.2.5: SLP_TYP for soft off; the second value and the reserved ones are unused.
    byte[] softOff =
        Aml.named(
            "\\_S5_",
            Aml.packageOf(
                Aml.integer(MachineLayout.SOFT_OFF),
                Aml.integer(MachineLayout.SOFT_OFF),
                Aml.integer(0),
                Aml.integer(0)));
    byte[] content = new byte[scope.length + softOff.length];
    System.arraycopy(scope, 0, content, 0, scope.length);
    System.arraycopy(softOff, 0, content, scope.length, softOff.length);
    // Revision 2: integers have 64 bits.
    return table("DSDT", 2, content);
  }

  /** Adds the header, section 5.2.6. */
  private static byte[] table(String signature, int revision, byte[] content) {
    ByteBuffer bytes = littleEndian(HEADER_SIZE + content.length);
    putAscii(bytes, 0, signature);
    bytes.putInt(4, bytes.capacity()).put(8, (byte) revision);
    putAscii(bytes, 10, OEM_ID);
    putAscii(bytes, 16, OEM_TABLE_ID);
    bytes.putInt(24, 1).putInt(28, CREATOR_ID).putInt(32, 1);
    bytes.put(HEADER_SIZE, content);
    bytes.put(CHECKSUM, checksum(bytes.array(), bytes.capacity()));
    return bytes.array();
  }

  /** What makes the sum of the first bytes zero. */
  private static byte checksum(byte[] bytes, int length) {
    int sum = 0;
    for (int i = 0; i < length; i++) {
      sum += bytes[i];
    }
    return (byte) -sum;
  }

  private static void putAscii(ByteBuffer bytes, int offset, String ascii) {
    bytes.put(offset, ascii.getBytes(StandardCharsets.US_ASCII));
  }

  private static ByteBuffer littleEndian(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }
}
