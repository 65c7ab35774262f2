// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.FileDescriptor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/**
 * An ELF64 executable for x86-64, loaded at its physical addresses (System V ABI, chapters 4 and 5:
 * object files, program loading). The file is not trusted.
 */
final class ElfKernel {
  private static final int HEADER_SIZE = 64;
  private static final int PROGRAM_HEADER_SIZE = 56;

  /** The file's first bytes: magic, 64 bits, little endian, version 1. */
  private static final int MAGIC = 0x464c_457f;

  private static final int CLASS_64_LITTLE_ENDIAN_VERSION_1 = 0x01_01_02;
  private static final int ET_EXEC = 2;
  private static final int ET_DYN = 3;
  private static final int EM_X86_64 = 62;
  private static final int PT_LOAD = 1;
  private static final int PT_NOTE = 4;

  /** Type of the note with a PVH entry (xen/include/public/elfnote.h), and its name. */
  private static final int XEN_ELFNOTE_PHYS32_ENTRY = 18;

  private static final int XEN = 0x6e_6558; // "Xen", with its terminating zero

  /** Linux has less than 1 KiB of notes. */
  private static final int MAX_NOTES = 64 * 1024;

  /** Linux has 4 or 5. */
  private static final int MAX_PROGRAM_HEADERS = 64;

  private record Segment(long fileOffset, long address, long fileSize, long memorySize) {
    long end() {
      return address + memorySize;
    }
  }

  private final FileDescriptor file;
  private final long entry;
  private final List<Segment> segments;
  private final OptionalLong pvhEntry;

  private ElfKernel(
      FileDescriptor file, long entry, List<Segment> segments, OptionalLong pvhEntry) {
    this.file = file;
    this.entry = entry;
    this.segments = segments;
    this.pvhEntry = pvhEntry;
  }

  /**
   * Reads and checks the headers.
   *
   * @throws BadKernelException when it is no such file
   */
  static ElfKernel parse(FileDescriptor file) throws BadKernelException {
    long fileSize = file.size();
    ByteBuffer header = read(file, 0, HEADER_SIZE, "ELF header");
    if (header.getInt(0) != MAGIC) {
      throw new BadKernelException("it does not start with the ELF magic number");
    }
    if ((header.getInt(4) & 0xff_ffff) != CLASS_64_LITTLE_ENDIAN_VERSION_1) {
      throw new BadKernelException("it is not a 64-bit little-endian ELF file");
    }
    int type = Short.toUnsignedInt(header.getShort(16));
    int machine = Short.toUnsignedInt(header.getShort(18));
    if (machine != EM_X86_64) {
      throw new BadKernelException("it is for ELF machine " + machine + ", not x86-64 (62)");
    }
    if (type != ET_EXEC && type != ET_DYN) {
      throw new BadKernelException("it is not an executable, but ELF type " + type);
    }
    long entry = header.getLong(24);
    long tableOffset = header.getLong(32);
    int entrySize = Short.toUnsignedInt(header.getShort(54));
    int count = Short.toUnsignedInt(header.getShort(56));
    if (entrySize != PROGRAM_HEADER_SIZE || count == 0 || count > MAX_PROGRAM_HEADERS) {
      throw new BadKernelException(
          "it has " + count + " program headers of " + entrySize + " bytes");
    }
    if (tableOffset < 0 || tableOffset > fileSize) {
      throw new BadKernelException("its program headers are outside the file");
    }
    ByteBuffer table = read(file, tableOffset, count * PROGRAM_HEADER_SIZE, "program headers");
    List<Segment> segments = new ArrayList<>();
    OptionalLong pvhEntry = OptionalLong.empty();
    for (int i = 0; i < count; i++) {
      int at = i * PROGRAM_HEADER_SIZE;
      if (table.getInt(at) == PT_LOAD && table.getLong(at + 40) != 0) {
        Segment segment =
            new Segment(
                table.getLong(at + 8),
                table.getLong(at + 24),
                table.getLong(at + 32),
                table.getLong(at + 40));
        check(segment, i, fileSize);
        segments.add(segment);
      } else if (table.getInt(at) == PT_NOTE && pvhEntry.isEmpty()) {
        pvhEntry = findPvhEntry(file, table.getLong(at + 8), table.getLong(at + 32), fileSize);
      }
    }
    requireInside(segments, entry, "entry point");
    if (pvhEntry.isPresent()) {
      requireInside(segments, pvhEntry.getAsLong(), "PVH entry point");
    }
    return new ElfKernel(file, entry, segments, pvhEntry);
  }

  private static void requireInside(List<Segment> segments, long address, String what)
      throws BadKernelException {
    if (segments.stream().noneMatch(s -> address >= s.address && address < s.end())) {
      throw new BadKernelException(
          "no loadable segment holds its " + what + " 0x" + Long.toHexString(address));
    }
  }

  /**
   * Looks through one segment of notes (System V ABI, chapter 5): sizes of name and description,
   * the type, then both, each padded to 4 bytes.
   */
  private static OptionalLong findPvhEntry(
      FileDescriptor file, long offset, long size, long fileSize) throws BadKernelException {
    if (size < 0 || size > MAX_NOTES || offset < 0 || offset > fileSize - size) {
      throw new BadKernelException("its notes are not inside the file, or too many");
    }
    ByteBuffer notes = read(file, offset, (int) size, "notes");
    while (notes.remaining() >= 12) {
      int nameSize = notes.getInt();
      int descriptionSize = notes.getInt();
      int type = notes.getInt();
      int name = notes.position();
      long description = name + (nameSize + 3L & ~3L);
      long next = description + (descriptionSize + 3L & ~3L);
      if (nameSize < 0 || descriptionSize < 0 || next > notes.limit()) {
        // The last one may lack its padding; nothing else can be read behind the end.
        return OptionalLong.empty();
      }
      if (type == XEN_ELFNOTE_PHYS32_ENTRY
          && nameSize == 4
          && notes.getInt(name) == XEN
          && (descriptionSize == 4 || descriptionSize == 8)) {
        long entry = Integer.toUnsignedLong(notes.getInt((int) description));
        if (descriptionSize == 8 && notes.getInt((int) description + 4) != 0) {
          throw new BadKernelException("its PVH entry point is above 4 GiB");
        }
        return OptionalLong.of(entry);
      }
      notes.position((int) next);
    }
    return OptionalLong.empty();
  }

  private static void check(Segment segment, int index, long fileSize) throws BadKernelException {
    if (segment.fileSize < 0
        || segment.fileOffset < 0
        || segment.fileOffset > fileSize - segment.fileSize) {
      throw new BadKernelException("segment " + index + " is not inside the file: it is truncated");
    }
    if (segment.memorySize < segment.fileSize
        || segment.address < MachineLayout.HIGH_MEMORY
        || segment.address > Long.MAX_VALUE - segment.memorySize) {
      throw new BadKernelException(
          "segment "
              + index
              + " wants "
              + Long.toUnsignedString(segment.memorySize)
              + " bytes at physical address 0x"
              + Long.toHexString(segment.address));
    }
  }

  private static ByteBuffer read(FileDescriptor file, long position, int size, String what)
      throws BadKernelException {
    byte[] bytes = new byte[size];
    if (file.readAt(position, bytes) < size) {
      throw new BadKernelException("it ends inside its " + what + ": it is truncated");
    }
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** The physical address of the first instruction. */
  long entry() {
    return entry;
  }

  /** The physical address where a PVH loader starts it, when it says so. */
  OptionalLong pvhEntry() {
    return pvhEntry;
  }

  /** The physical address behind the last segment, including what is zero at the start. */
  long end() {
    return segments.stream().mapToLong(Segment::end).max().orElseThrow();
  }

  /**
   * Puts the segments into memory that is still zero.
   *
   * @throws BadKernelException when the file became shorter meanwhile
   */
  void load(GuestMemory memory) throws BadKernelException {
    for (Segment segment : segments) {
      long read = memory.readFrom(file, segment.fileOffset, segment.address, segment.fileSize);
      if (read < segment.fileSize) {
        throw new BadKernelException("it became shorter while it was read");
      }
    }
  }

  /** What is wrong with the file, as the rest of a sentence about it. */
  static final class BadKernelException extends Exception {
    private static final long serialVersionUID = 1L;

    BadKernelException(String message) {
      super(message);
    }
  }
}
