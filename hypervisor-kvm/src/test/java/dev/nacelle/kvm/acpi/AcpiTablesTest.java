// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.acpi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.platform.MachineLayout;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The tables as a guest finds them, and as ACPICA's own disassembler (iasl) reads them. */
class AcpiTablesTest {
  private final GuestMemory memory = GuestMemory.allocate(1 << 20);

  @TempDir Path directory;

  @AfterEach
  void close() {
    memory.close();
  }

  private String signature(long table) {
    byte[] bytes = new byte[4];
    memory.getBytes(table, bytes, 0, 4);
    return new String(bytes, StandardCharsets.US_ASCII);
  }

  private byte[] content(long table) {
    byte[] bytes = new byte[memory.getInt(table + 4)];
    memory.getBytes(table, bytes, 0, bytes.length);
    return bytes;
  }

  private int sum(long address, int length) {
    int sum = 0;
    for (int i = 0; i < length; i++) {
      sum += memory.getByte(address + i);
    }
    return sum & 0xff;
  }

  /** The tables that the XSDT lists, then the DSDT that the FADT names. */
  private List<Long> tables(long rsdp) {
    long xsdt = memory.getLong(rsdp + 24);
    List<Long> tables = new ArrayList<>();
    for (int at = 36; at < memory.getInt(xsdt + 4); at += 8) {
      tables.add(memory.getLong(xsdt + at));
    }
    tables.add(memory.getLong(tables.get(0) + 140));
    return tables;
  }

  @Test
  void areFoundFromTheRootPointer() {
    long rsdp = AcpiTables.write(memory, new Hardware(2, 3));
    assertEquals(0xe_0000, rsdp, "where it is searched for");
    assertEquals(0x2052_5450_2044_5352L, memory.getLong(rsdp), "RSD PTR");
    assertEquals(0, sum(rsdp, 20));
    assertEquals(0, sum(rsdp, 36));
    long xsdt = memory.getLong(rsdp + 24);
    assertEquals("XSDT", signature(xsdt));
    assertEquals(0, sum(xsdt, memory.getInt(xsdt + 4)));
    List<Long> tables = tables(rsdp);
    assertEquals(List.of("FACP", "APIC", "DSDT"), tables.stream().map(this::signature).toList());
    for (long table : tables) {
      assertEquals(0, sum(table, memory.getInt(table + 4)), "checksum");
      assertEquals(0, table % 16);
    }
  }

  @Test
  void describeTheMachineToTheDisassembler() throws Exception {
    List<Long> tables = tables(AcpiTables.write(memory, new Hardware(2, 18)));

    String fadt = disassemble("facp", tables.get(0));
    assertTrue(fadt.contains("Hardware Reduced (V5) : 1"), fadt);
    assertTrue(fadt.contains("Reset Register Supported (V2) : 1"), fadt);
    assertTrue(fadt.contains("CMOS RTC Not Present (V5) : 1"), fadt);
    assertTrue(fadt.contains("8042 Present on ports 60/64 (V2) : 0"), fadt);

    String madt = disassemble("apic", tables.get(1));
    assertEquals(2, count(madt, "Processor Local APIC]"), madt);
    assertEquals(1, count(madt, "I/O APIC]"), madt);
    assertEquals(1, count(madt, "Local APIC NMI]"), madt);

    String dsdt = disassemble("dsdt", tables.get(2));
    assertEquals(18, count(dsdt, "Name (_HID, \"LNRO0005\")"), dsdt);
    assertEquals(1, count(dsdt, "Name (_HID, EisaId (\"PNP0501\")"), dsdt);
    assertTrue(dsdt.contains("Device (VR11)"), dsdt);
    assertTrue(dsdt.contains("0xD0011000,         // Address Base"), dsdt);
    assertTrue(dsdt.contains("Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive"), dsdt);
    assertTrue(dsdt.contains("Name (\\_S5, Package (0x04)"), dsdt);
  }

  @Test
  void compileAgainWithoutErrors() throws Exception {
    for (int devices : new int[] {0, 1, 2, MachineLayout.MAX_MMIO_DEVICES}) {
      List<Long> tables = tables(AcpiTables.write(memory, new Hardware(1, devices)));
      disassemble("dsdt", tables.get(2));
      String report = run("iasl", "-ve", "-p", "again", "dsdt.dsl");
      assertTrue(Files.exists(directory.resolve("again.aml")), report);
    }
  }

  @Test
  void fitForAsManyProcessorsAsThereCanBe() {
    long rsdp =
        AcpiTables.write(
            memory, new Hardware(MachineLayout.MAX_CPUS, MachineLayout.MAX_MMIO_DEVICES));
    assertEquals(44 + 254 * 8 + 12 + 6, memory.getInt(tables(rsdp).get(1) + 4));
  }

  @Test
  void encodeLengthsOfEachSize() {
    // Section 20.2.4: one byte up to 63, two up to 4095, then three.
    assertEquals("10 3f", prefix(Aml.scope("\\_SB_", new byte[57])));
    assertEquals("10 41 04", prefix(Aml.scope("\\_SB_", new byte[58])));
    assertEquals("10 4f ff", prefix(Aml.scope("\\_SB_", new byte[4088])));
    assertEquals("10 81 00 01", prefix(Aml.scope("\\_SB_", new byte[4089])));
  }

  private static String prefix(byte[] aml) {
    int following = aml[1] >>> 6 & 3;
    return HexFormat.ofDelimiter(" ").formatHex(aml, 0, 2 + following);
  }

  @Test
  void encodeIntegersInAsFewBytesAsTheyNeed() {
    HexFormat hex = HexFormat.of();
    assertEquals("00", hex.formatHex(Aml.integer(0)));
    assertEquals("01", hex.formatHex(Aml.integer(1)));
    assertEquals("0aff", hex.formatHex(Aml.integer(0xff)));
    assertEquals("0b0001", hex.formatHex(Aml.integer(0x100)));
    assertEquals("0c00000100", hex.formatHex(Aml.integer(0x1_0000)));
    assertEquals("0c41d00501", hex.formatHex(Aml.eisaId("PNP0501")));
    assertThrows(IllegalArgumentException.class, () -> Aml.named("toolong", new byte[0]));
  }

  private static int count(String text, String part) {
    return text.split(Pattern.quote(part), -1).length - 1;
  }

  private String disassemble(String name, long table) throws Exception {
    Files.write(directory.resolve(name + ".dat"), content(table));
    String report = run("iasl", "-d", name + ".dat");
    Path source = directory.resolve(name + ".dsl");
    assertTrue(Files.exists(source), report);
    assertTrue(!report.contains("Error") && !report.contains("incorrect"), report);
    return Files.readString(source);
  }

  private String run(String... command) throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(command).directory(directory.toFile()).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    int code = process.waitFor();
    assertEquals(0, code, output);
    return output;
  }
}
