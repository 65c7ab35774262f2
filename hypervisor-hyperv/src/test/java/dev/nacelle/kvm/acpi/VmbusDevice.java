// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.acpi;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * Adds VMBus to the ACPI tables of a machine, as a table of its own (SSDT, ACPI 6.5 section
 * 5.2.11.2): Linux looks for its name (drivers/hv/vmbus_drv.c: vmbus_acpi_device_ids).
 */
public final class VmbusDevice {
  private static final int HEADER = 36;

  /** Behind all other tables. */
  private static final long PLACE = MachineLayout.ACPI_TABLES_END - 0x1000;

  private static final int RSDP_XSDT = 24;
  private static final int RSDP_SIZE = 36;
  private static final int RSDP_CHECKSUM = 32;

  private VmbusDevice() {}

  /** Adds it to tables that {@link AcpiTables} has written. */
  public static void add(GuestMemory memory) {
    byte[] device =
        Aml.scope(
            "\\_SB_",
            Aml.device(
                "VMBS",
                Aml.named("_HID", Aml.string("VMBUS")),
                Aml.named("_UID", Aml.integer(0)),
                Aml.named("_CRS", Aml.resources())));
    byte[] ssdt = table("SSDT", device);
    memory.putBytes(PLACE, ssdt, 0, ssdt.length);

    long rsdp = MachineLayout.ACPI_TABLES;
    long old = memory.getLong(rsdp + RSDP_XSDT);
    int oldContent = memory.getInt(old + 4) - HEADER;
    ByteBuffer tables = ByteBuffer.allocate(oldContent + 8).order(ByteOrder.LITTLE_ENDIAN);
    memory.getBytes(old + HEADER, tables, oldContent);
    tables.putLong(PLACE);
    byte[] xsdt = table("XSDT", tables.array());
    long place = PLACE + 0x800;
    memory.putBytes(place, xsdt, 0, xsdt.length);

    byte[] pointer = new byte[RSDP_SIZE];
    memory.putLong(rsdp + RSDP_XSDT, place);
    memory.putByte(rsdp + RSDP_CHECKSUM, (byte) 0);
    memory.getBytes(rsdp, pointer, 0, RSDP_SIZE);
    memory.putByte(rsdp + RSDP_CHECKSUM, checksum(pointer));
  }

  /** Section 5.2.6. */
  private static byte[] table(String signature, byte[] content) {
    ByteBuffer bytes = ByteBuffer.allocate(HEADER + content.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.put(0, signature.getBytes(StandardCharsets.US_ASCII));
    bytes.putInt(4, bytes.capacity()).put(8, (byte) 2);
    bytes.put(10, "VRTUALMICROSFT".getBytes(StandardCharsets.US_ASCII)).putInt(24, 1);
    bytes.put(HEADER, content);
    bytes.put(9, checksum(bytes.array()));
    return bytes.array();
  }

  private static byte checksum(byte[] bytes) {
    int sum = 0;
    for (byte b : bytes) {
      sum += b;
    }
    return (byte) -sum;
  }
}
