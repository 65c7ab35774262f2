// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;
import dev.nacelle.kvm.sys.FileDescriptor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

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
  private static final int PF_W = 2;
  private static final int SECTION_HEADER_SIZE = 64;
  private static final int SHF_EXECINSTR = 4;

  /** Type of the note with a PVH entry (xen/include/public/elfnote.h), and its name. */
  private static final int XEN_ELFNOTE_PHYS32_ENTRY = 18;

  private static final int XEN = 0x6e_6558; // "Xen", with its terminating zero

  /** Linux has less than 1 KiB of notes. */
  private static final int MAX_NOTES = 64 * 1024;

  /** Linux has 4 or 5. */
  private static final int MAX_PROGRAM_HEADERS = 64;

  /** Linux has about 50. */
  private static final int MAX_SECTIONS = 1024;

  private static final long PAGE = 4096;
  private static final long HUGE_PAGE = 2 << 20;

  private record Segment(
      int index, long fileOffset, long address, long fileSize, long memorySize, boolean writable) {
    long end() {
      return address + memorySize;
    }

    @Override
    public String toString() {
      return "segment " + index;
    }
  }

  private final FileDescriptor file;
  private final long entry;
  private final List<Segment> segments;
  private final OptionalLong pvhEntry;
  private final @Nullable ByteBuffer sections;

  private ElfKernel(
      FileDescriptor file,
      long entry,
      List<Segment> segments,
      OptionalLong pvhEntry,
      @Nullable ByteBuffer sections) {
    this.file = file;
    this.entry = entry;
    this.segments = segments;
    this.pvhEntry = pvhEntry;
    this.sections = sections;
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
      throw new BadKernelException("it is not a 64-bit little-endian ELF file (ELF64)");
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
                i,
                table.getLong(at + 8),
                table.getLong(at + 24),
                table.getLong(at + 32),
                table.getLong(at + 40),
                (table.getInt(at + 4) & PF_W) != 0);
        check(segment, fileSize);
        segments.add(segment);
      } else if (table.getInt(at) == PT_NOTE && pvhEntry.isEmpty()) {
        pvhEntry = findPvhEntry(file, table.getLong(at + 8), table.getLong(at + 32), fileSize);
      }
    }
    requireApart(segments);
    requireInside(segments, entry, "entry point");
    if (pvhEntry.isPresent()) {
      requireInside(segments, pvhEntry.getAsLong(), "PVH entry point");
    }
    return new ElfKernel(file, entry, segments, pvhEntry, sectionHeaders(file, header, fileSize));
  }

  /** Null where there are none that can be read: loading does without. */
  private static @Nullable ByteBuffer sectionHeaders(
      FileDescriptor file, ByteBuffer header, long fileSize) throws BadKernelException {
    long offset = header.getLong(40);
    int entrySize = Short.toUnsignedInt(header.getShort(58));
    int count = Short.toUnsignedInt(header.getShort(60));
    int size = count * SECTION_HEADER_SIZE;
    return entrySize == SECTION_HEADER_SIZE
            && count > 0
            && count <= MAX_SECTIONS
            && offset >= HEADER_SIZE
            && offset <= fileSize - size
        ? read(file, offset, size, "section headers")
        : null;
  }

  /** Which content an address gets must not depend on the order of loading. */
  private static void requireApart(List<Segment> segments) throws BadKernelException {
    Segment below = null;
    // Not Comparator.comparingLong: its lambda can be serialized, and of such a one no archive
    // holds the class, which costs a program's first machine some milliseconds.
    for (Segment segment :
        segments.stream().sorted((a, b) -> Long.compare(a.address, b.address)).toList()) {
      if (below != null && segment.address < below.end()) {
        throw new BadKernelException(
            segment + " overlaps " + below + " at 0x" + Long.toHexString(segment.address));
      }
      below = segment;
    }
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

  private static void check(Segment segment, long fileSize) throws BadKernelException {
    if (segment.fileSize < 0
        || segment.fileOffset < 0
        || segment.fileOffset > fileSize - segment.fileSize) {
      throw new BadKernelException(segment + " is not inside the file: it is truncated");
    }
    if (segment.memorySize < segment.fileSize
        || segment.address < MachineLayout.HIGH_MEMORY
        || segment.address > Long.MAX_VALUE - segment.memorySize) {
      throw new BadKernelException(
          segment
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
   * Which pages of the file stand in place of memory, copied on write, and are not read into it.
   */
  enum Shared {
    NOTHING,

    /**
     * Those that Linux does not write to. It patches its code as it boots, in every page of it
     * (calls, returns, alternatives), and each page that was mapped would be copied then, after a
     * fault of its own: that takes longer than to read them into huge pages.
     */
    CONSTANTS,

    ALL
  }

  /**
   * Puts the segments into memory that is still zero.
   *
   * @param shared NOTHING where the file may change later
   * @throws BadKernelException when the file became shorter meanwhile
   */
  void load(GuestMemory memory, Shared shared) throws BadKernelException {
    for (Segment segment : segments) {
      long end = segment.fileSize & -PAGE;
      long start = Math.min(startOfShared(segment, shared), end);
      read(memory, segment, 0, start);
      if (start < end) {
        memory.mapCopyOnWrite(
            file, segment.fileOffset + start, segment.address + start, end - start);
      }
      read(memory, segment, end, segment.fileSize - end);
    }
  }

  private long startOfShared(Segment segment, Shared shared) {
    if (shared == Shared.NOTHING || (segment.fileOffset | segment.address) % PAGE != 0) {
      return segment.fileSize;
    }
    return shared == Shared.ALL ? 0 : startOfConstants(segment);
  }

  /**
   * Where in a segment its constants start, or its end where it has none that can be told. They
   * follow the code, from the next huge page on, so that Linux can protect both apart
   * (arch/x86/kernel/vmlinux.lds.S); what is between them it frees and uses.
   */
  private long startOfConstants(Segment segment) {
    if (segment.writable || sections == null) {
      return segment.fileSize;
    }
    long endOfCode = 0;
    for (int at = 0; at < sections.limit(); at += SECTION_HEADER_SIZE) {
      long start = sections.getLong(at + 24) - segment.fileOffset;
      boolean code = (sections.getLong(at + 8) & SHF_EXECINSTR) != 0;
      if (code && start >= 0 && start < segment.fileSize) {
        long size = sections.getLong(at + 32);
        endOfCode =
            size < 0
                ? segment.fileSize
                : Math.max(endOfCode, start + Math.min(size, segment.fileSize));
      }
    }
    long address = segment.address + endOfCode;
    return (address + HUGE_PAGE - 1 & -HUGE_PAGE) - segment.address;
  }

  private void read(GuestMemory memory, Segment segment, long from, long length)
      throws BadKernelException {
    if (memory.readFrom(file, segment.fileOffset + from, segment.address + from, length) < length) {
      throw new BadKernelException("it became shorter while it was read");
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
