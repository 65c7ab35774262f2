// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * The headers of a little-endian ELF64 file for x86-64: System V ABI, chapters 4 (object files) and
 * 5 (program loading). Everything it returns has been checked to lie inside the file.
 */
final class Elf64 {
  /** e_type: a relocatable file, such as a kernel module. */
  static final int ET_REL = 1;

  /** e_type: an executable file, such as a vmlinux. */
  static final int ET_EXEC = 2;

  /** e_type: a shared object, or a position-independent executable. */
  static final int ET_DYN = 3;

  /** p_type: a segment that is loaded. */
  static final int PT_LOAD = 1;

  /** p_type: the path of a program interpreter. */
  static final int PT_INTERP = 3;

  private static final int HEADER_SIZE = 64;
  private static final int PROGRAM_HEADER_SIZE = 56;
  private static final int SECTION_HEADER_SIZE = 64;
  private static final int SHT_NOBITS = 8;
  private static final int EM_X86_64 = 62;

  /** More than any kernel has (Linux: 5), few enough to read each. */
  private static final int MAX_SEGMENTS = 128;

  /** A module built with -ffunction-sections has thousands; e_shnum itself ends at 0xff00. */
  private static final int MAX_SECTIONS = 0xff00;

  private static final int MAX_STRING_TABLE = 16 << 20;

  /** Registered e_machine values of the architectures that Linux kernels are commonly built for. */
  private static final Map<Integer, String> MACHINES =
      Map.of(
          3,
          "i386",
          8,
          "MIPS",
          20,
          "PowerPC",
          21,
          "PowerPC64",
          22,
          "S/390",
          40,
          "ARM",
          183,
          "AArch64",
          243,
          "RISC-V",
          258,
          "LoongArch");

  /** A program header; addresses and sizes in bytes. */
  record Segment(
      int type, long offset, long virtualAddress, long address, long fileSize, long memorySize) {}

  /** A section header; {@code size} is 0 for a section without content in the file. */
  record Section(String name, long offset, long size) {}

  private final String name;
  private final Bytes bytes;
  private final ByteBuffer header;

  private Elf64(String name, Bytes bytes, ByteBuffer header) {
    this.name = name;
    this.bytes = bytes;
    this.header = header;
  }

  static boolean hasMagic(ByteBuffer start) {
    return start.remaining() >= 4 && start.getInt(start.position()) == 0x464c457f;
  }

  /**
   * Reads and checks the file header.
   *
   * @param name what to call the file in errors
   * @throws KernelException when it is not a little-endian ELF64 file for x86-64
   */
  static Elf64 read(String name, Bytes bytes) throws IOException {
    if (bytes.size() < 20) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " is no ELF file: it has " + bytes.size() + " bytes",
          null,
          null);
    }
    ByteBuffer ident = bytes.buffer(0, 20);
    if (!hasMagic(ident)) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " is no ELF file: it does not start with 7f 45 4c 46",
          null,
          null);
    }
    if (ident.get(5) != 1) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " is a big-endian ELF file, not one for x86-64",
          null,
          null);
    }
    int machine = Short.toUnsignedInt(ident.getShort(18));
    if (machine != EM_X86_64) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name
              + " is for "
              + MACHINES.getOrDefault(machine, "another architecture")
              + " (ELF machine "
              + machine
              + "), not for x86-64",
          "Use the amd64 (x86_64) build.",
          null);
    }
    if (ident.get(4) != 2) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " is a 32-bit ELF file",
          "Use a 64-bit (amd64, x86_64) build.",
          null);
    }
    if (bytes.size() < HEADER_SIZE) {
      throw truncated(name, "the ELF header", HEADER_SIZE, bytes.size());
    }
    return new Elf64(name, bytes, bytes.buffer(0, HEADER_SIZE));
  }

  int type() {
    return Short.toUnsignedInt(header.getShort(16));
  }

  long entry() {
    return header.getLong(24);
  }

  /** The program headers, in file order. */
  List<Segment> segments() throws IOException {
    long offset = header.getLong(32);
    int count = Short.toUnsignedInt(header.getShort(56));
    if (count == 0) {
      return List.of();
    }
    int entrySize = Short.toUnsignedInt(header.getShort(54));
    if (entrySize != PROGRAM_HEADER_SIZE || count > MAX_SEGMENTS) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          name + ": " + count + " program headers of " + entrySize + " bytes are not believable",
          null,
          null);
    }
    ByteBuffer table = table("program header table", offset, count, PROGRAM_HEADER_SIZE);
    List<Segment> segments = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      int at = i * PROGRAM_HEADER_SIZE;
      Segment segment =
          new Segment(
              table.getInt(at),
              table.getLong(at + 8),
              table.getLong(at + 16),
              table.getLong(at + 24),
              table.getLong(at + 32),
              table.getLong(at + 40));
      requireInside("program segment " + i, segment.offset(), segment.fileSize());
      segments.add(segment);
    }
    return segments;
  }

  /** The section headers without the null section, in file order. */
  List<Section> sections() throws IOException {
    long offset = header.getLong(40);
    int count = Short.toUnsignedInt(header.getShort(60));
    if (offset == 0 || count == 0) {
      return List.of();
    }
    int entrySize = Short.toUnsignedInt(header.getShort(58));
    int namesIndex = Short.toUnsignedInt(header.getShort(62));
    if (entrySize != SECTION_HEADER_SIZE || count > MAX_SECTIONS || namesIndex >= count) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          name
              + ": "
              + count
              + " section headers of "
              + entrySize
              + " bytes with their names in section "
              + namesIndex
              + " are not believable",
          null,
          null);
    }
    ByteBuffer table = table("section header table", offset, count, SECTION_HEADER_SIZE);
    byte[] names = sectionNames(table, namesIndex);
    List<Section> sections = new ArrayList<>(count - 1);
    for (int i = 1; i < count; i++) {
      int at = i * SECTION_HEADER_SIZE;
      long size = table.getInt(at + 4) == SHT_NOBITS ? 0 : table.getLong(at + 32);
      // A section without content may claim to be anywhere.
      long start = size == 0 ? 0 : table.getLong(at + 24);
      Section section = new Section(string(names, table.getInt(at)), start, size);
      requireInside("section " + section.name(), start, size);
      sections.add(section);
    }
    return sections;
  }

  private byte[] sectionNames(ByteBuffer table, int index) throws IOException {
    long offset = table.getLong(index * SECTION_HEADER_SIZE + 24);
    long size = table.getLong(index * SECTION_HEADER_SIZE + 32);
    if (index == 0) {
      return new byte[0];
    }
    requireInside("the section name table", offset, size);
    if (size > MAX_STRING_TABLE) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          name + ": a section name table of " + size + " bytes is not believable",
          null,
          null);
    }
    return bytes.read(offset, (int) size);
  }

  private static String string(byte[] table, int offset) {
    if (offset < 0 || offset >= table.length) {
      return "";
    }
    int end = offset;
    while (end < table.length && table[end] != 0 && end - offset < 256) {
      end++;
    }
    // It goes into errors, and from there to terminals.
    return new String(table, offset, end - offset, StandardCharsets.US_ASCII)
        .replaceAll("[^ -~]", "?");
  }

  private ByteBuffer table(String what, long offset, int count, int entrySize) throws IOException {
    requireInside("the " + what, offset, (long) count * entrySize);
    return bytes.buffer(offset, count * entrySize);
  }

  private void requireInside(String what, long offset, long size) {
    if (bytes.contains(offset, size)) {
      return;
    }
    if (offset < 0 || size < 0 || offset + size < 0) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          String.format(
              "%s is damaged: %s claims offset 0x%x and size 0x%x", name, what, offset, size),
          null,
          null);
    }
    throw truncated(name, what, offset + size, bytes.size());
  }

  static KernelException truncated(String name, String what, long needed, long have) {
    return new KernelException(
        KernelException.Reason.DAMAGED,
        name + " is truncated: " + what + " ends at byte " + needed + ", the file at " + have,
        "Fetch the file again.",
        null);
  }
}
