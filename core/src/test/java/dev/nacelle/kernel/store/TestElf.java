// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Writes small ELF64 files for x86-64, good ones unless told otherwise. */
final class TestElf {
  static final int TYPE_OFFSET = 16;
  static final int MACHINE_OFFSET = 18;

  private record Segment(int type, long address, ByteBuffer content, long memorySize) {}

  private record Section(String name, ByteBuffer content) {}

  private final int type;
  private long entry = 0x100_0000;
  private final List<Segment> segments = new ArrayList<>();
  private final List<Section> sections = new ArrayList<>();

  private TestElf(int type) {
    this.type = type;
  }

  static TestElf of(int type) {
    return new TestElf(type);
  }

  /** A kernel of two segments, which says that it is that release. */
  static TestElf kernel(String release) {
    return of(Elf64.ET_EXEC)
        .segment(0x100_0000, new byte[256], 4096)
        .segment(0x200_0000, banner(release), 8192)
        .section(".rodata", new byte[64]);
  }

  static byte[] banner(String release) {
    return ("\0Linux version %s\0Linux version "
            + release
            + " (someone@example.com) (gcc 12, ld 2.40) #1 SMP PREEMPT_DYNAMIC Test 1 (2026-01-01)\n\0")
        .getBytes(StandardCharsets.US_ASCII);
  }

  /** A module; {@code modinfo} is a list of tag=value. */
  static byte[] module(String... modinfo) {
    return of(Elf64.ET_REL)
        .section(".text", new byte[100])
        .section(".modinfo", (String.join("\0", modinfo) + "\0").getBytes(StandardCharsets.UTF_8))
        .build();
  }

  TestElf entry(long address) {
    entry = address;
    return this;
  }

  TestElf segment(long address, byte[] content, long memorySize) {
    return segment(Elf64.PT_LOAD, address, content, memorySize);
  }

  TestElf segment(int type, long address, byte[] content, long memorySize) {
    segments.add(new Segment(type, address, ByteBuffer.wrap(content), memorySize));
    return this;
  }

  TestElf section(String name, byte[] content) {
    sections.add(new Section(name, ByteBuffer.wrap(content)));
    return this;
  }

  byte[] build() {
    ByteArrayOutputStream names = new ByteArrayOutputStream();
    names.write(0);
    List<Integer> nameOffsets = new ArrayList<>();
    List<Section> all = new ArrayList<>(sections);
    all.add(new Section(".shstrtab", ByteBuffer.allocate(0)));
    for (Section section : all) {
      nameOffsets.add(names.size());
      names.writeBytes((section.name() + "\0").getBytes(StandardCharsets.US_ASCII));
    }
    all.set(all.size() - 1, new Section(".shstrtab", ByteBuffer.wrap(names.toByteArray())));

    int data = 64 + 56 * segments.size();
    int size = data;
    for (Segment segment : segments) {
      size += segment.content().remaining();
    }
    for (Section section : all) {
      size += section.content().remaining();
    }
    int sectionHeaders = size;
    size += 64 * (all.size() + 1);

    ByteBuffer elf = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    elf.putInt(0x464c457f).put((byte) 2).put((byte) 1).put((byte) 1).position(TYPE_OFFSET);
    elf.putShort((short) type).putShort((short) 62).putInt(1).putLong(entry);
    elf.putLong(segments.isEmpty() ? 0 : 64).putLong(sectionHeaders).putInt(0).putShort((short) 64);
    elf.putShort((short) 56).putShort((short) segments.size());
    elf.putShort((short) 64).putShort((short) (all.size() + 1)).putShort((short) all.size());
    int offset = data;
    for (Segment segment : segments) {
      int length = segment.content().remaining();
      elf.putInt(segment.type()).putInt(7).putLong(offset);
      elf.putLong(0xffffffff80000000L + segment.address()).putLong(segment.address());
      elf.putLong(length).putLong(segment.memorySize()).putLong(0x1000);
      elf.put(offset, segment.content(), 0, length);
      offset += length;
    }
    elf.position(sectionHeaders + 64);
    for (int i = 0; i < all.size(); i++) {
      int length = all.get(i).content().remaining();
      elf.putInt(nameOffsets.get(i)).putInt(1).putLong(0).putLong(0).putLong(offset);
      elf.putLong(length).putLong(0).putLong(1).putLong(0);
      elf.put(offset, all.get(i).content(), 0, length);
      offset += length;
    }
    return elf.array();
  }
}
