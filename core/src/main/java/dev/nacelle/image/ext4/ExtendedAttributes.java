// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import com.google.common.collect.Comparators;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The extended attributes of one inode, known to fit in it: what fits goes in the inode itself, the
 * rest in one block of 4 KiB, which inodes with the same attributes share (attributes.rst).
 * Immutable, equal by content; their order means nothing, but keeps a hash table fast whose keys
 * were chosen to have one hash code.
 */
public final class ExtendedAttributes implements Comparable<ExtendedAttributes> {
  /** No attributes. */
  public static final ExtendedAttributes NONE = new ExtendedAttributes(List.of());

  private static final int MAGIC = 0xEA020000;
  private static final int ENTRY_HEADER = 16;
  private static final int END_MARK = 4;
  private static final int INODE_HEADER = 4;
  private static final int BLOCK_HEADER = 32;

  /** Bytes of an inode behind its extra fields. */
  static final int INODE_AREA =
      Ext4Format.INODE_SIZE - Ext4Format.CLASSIC_INODE_SIZE - Ext4Format.EXTRA_INODE_SIZE;

  /** XATTR_NAME_MAX (include/uapi/linux/limits.h). */
  private static final int MAX_NAME_BYTES = 255;

  private final List<Entry> entries;
  private final List<Entry> inInode = new ArrayList<>();
  private final List<Entry> inBlock = new ArrayList<>();

  /** A name with its well-known prefix replaced by a number, and the value as it is on disk. */
  @SuppressWarnings("ArrayRecordComponent") // equals is by content
  private record Entry(int prefix, byte[] name, byte[] value) {
    /** The first three are the order that a block must have; in an inode any will do. */
    static final Comparator<Entry> ORDER =
        Comparator.comparingInt(Entry::prefix)
            .thenComparingInt(entry -> entry.name.length)
            .thenComparing(Entry::name, Arrays::compareUnsigned)
            .thenComparing(Entry::value, Arrays::compareUnsigned);

    int size() {
      return ENTRY_HEADER + Ext4Format.align4(name.length) + Ext4Format.align4(value.length);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Entry entry
          && prefix == entry.prefix
          && Arrays.equals(name, entry.name)
          && Arrays.equals(value, entry.value);
    }

    @Override
    public int hashCode() {
      return 31 * (31 * prefix + Arrays.hashCode(name)) + Arrays.hashCode(value);
    }
  }

  /** "Attribute Name Indices" of attributes.rst, those that Linux lets a program set. */
  private enum Prefix {
    USER(1, "user.", true),
    POSIX_ACL_ACCESS(2, "system.posix_acl_access", false),
    POSIX_ACL_DEFAULT(3, "system.posix_acl_default", false),
    TRUSTED(4, "trusted.", true),
    SECURITY(6, "security.", true);

    final int index;
    final String text;
    final boolean hasSuffix;

    Prefix(int index, String text, boolean hasSuffix) {
      this.index = index;
      this.text = text;
      this.hasSuffix = hasSuffix;
    }

    static @Nullable Prefix of(String name) {
      for (Prefix prefix : values()) {
        if (prefix.hasSuffix
            ? name.startsWith(prefix.text) && name.length() > prefix.text.length()
            : name.equals(prefix.text)) {
          return prefix;
        }
      }
      return null;
    }
  }

  private ExtendedAttributes(List<Entry> entries) {
    this.entries = entries;
    int inodeRoom = INODE_AREA - INODE_HEADER - END_MARK;
    for (Entry entry : entries) {
      if (entry.size() <= inodeRoom) {
        inodeRoom -= entry.size();
        inInode.add(entry);
      } else {
        inBlock.add(entry);
      }
    }
  }

  /**
   * Whether ext4 has a place for an attribute of that name: {@code user.*}, {@code trusted.*},
   * {@code security.*} and the two POSIX ACLs.
   */
  public static boolean isSupported(String name) {
    return Prefix.of(name) != null;
  }

  /**
   * These attributes.
   *
   * @param values by full name ("user.comment"), of which each character is a byte, as the kernel
   *     takes any; ACLs in the form that getxattr(2) returns
   * @throws IllegalArgumentException when a name is not supported or too long, an ACL is malformed,
   *     or all together do not fit in an inode and one block, as they do up to about 4,000 bytes
   */
  public static ExtendedAttributes of(Map<String, byte[]> values) {
    if (values.isEmpty()) {
      return NONE;
    }
    List<Entry> entries = new ArrayList<>();
    values.forEach((name, value) -> entries.add(entry(name, value)));
    entries.sort(Entry.ORDER);
    ExtendedAttributes attributes = new ExtendedAttributes(List.copyOf(entries));
    long blockBytes = attributes.inBlock.stream().mapToLong(Entry::size).sum();
    int blockRoom = Ext4Format.BLOCK_SIZE - BLOCK_HEADER - END_MARK;
    if (blockBytes > blockRoom) {
      throw new IllegalArgumentException(
          "its extended attributes take "
              + blockBytes
              + " bytes besides what fits in the inode, and Nacelle's filesystems, which do without"
              + " ext4's ea_inode, have room for "
              + blockRoom
              + "; the largest is "
              + largest(values));
    }
    return attributes;
  }

  private static String largest(Map<String, byte[]> values) {
    Map.Entry<String, byte[]> largest =
        Collections.max(
            values.entrySet(), Comparator.comparingInt(entry -> entry.getValue().length));
    return "'" + largest.getKey() + "' with " + largest.getValue().length + " bytes";
  }

  private static Entry entry(String name, byte[] value) {
    Prefix prefix = Prefix.of(name);
    if (prefix == null) {
      throw new IllegalArgumentException("no extended attribute of ext4: " + name);
    }
    byte[] fullName = name.getBytes(StandardCharsets.ISO_8859_1);
    if (!new String(fullName, StandardCharsets.ISO_8859_1).equals(name)) {
      throw new IllegalArgumentException("a character of '" + name + "' is no byte");
    }
    if (fullName.length > MAX_NAME_BYTES) {
      throw new IllegalArgumentException(
          "the name of an extended attribute has " + fullName.length + " bytes");
    }
    byte[] suffix = Arrays.copyOfRange(fullName, prefix.text.length(), fullName.length);
    return new Entry(
        prefix.index, suffix, prefix.hasSuffix ? value.clone() : PosixAcl.toDisk(name, value));
  }

  /** Whether there are none. */
  public boolean isEmpty() {
    return entries.isEmpty();
  }

  boolean needBlock() {
    return !inBlock.isEmpty();
  }

  /** Fills the rest of an inode, which begins at the buffer's position. */
  void putInInode(ByteBuffer inode) {
    if (inInode.isEmpty()) {
      return;
    }
    ByteBuffer area = inode.slice().order(inode.order());
    area.putInt(MAGIC);
    // Offsets of values count from the first entry here. The hash stays 0: the kernel does not
    // keep it up to date in inodes.
    putEntries(area, inInode, INODE_HEADER, false);
  }

  /**
   * What {@link #putInInode} and {@link #toBlock} wrote.
   *
   * @param block null where there is none
   * @throws Ext4ImageException when it is something else
   */
  static ExtendedAttributes read(ByteBuffer inode, @Nullable ByteBuffer block)
      throws Ext4ImageException {
    List<Entry> entries = new ArrayList<>();
    if (inode.getInt(0) == MAGIC) {
      readEntries(inode, INODE_HEADER, INODE_HEADER, entries);
    }
    if (block != null) {
      if (block.getInt(0) != MAGIC) {
        throw new Ext4ImageException("a block of extended attributes is none");
      }
      readEntries(block, BLOCK_HEADER, 0, entries);
    }
    entries.sort(Entry.ORDER);
    return entries.isEmpty() ? NONE : new ExtendedAttributes(List.copyOf(entries));
  }

  private static void readEntries(ByteBuffer area, int start, int offsetBase, List<Entry> entries)
      throws Ext4ImageException {
    for (int at = start; area.getInt(at) != 0; ) {
      byte[] name = new byte[Byte.toUnsignedInt(area.get(at))];
      int valueStart = offsetBase + Short.toUnsignedInt(area.getShort(at + 2));
      int valueLength = area.getInt(at + 8);
      if (valueLength < 0 || valueLength > area.limit()) {
        throw new Ext4ImageException("an extended attribute has " + valueLength + " bytes");
      }
      byte[] value = new byte[valueLength];
      area.get(at + ENTRY_HEADER, name).get(valueStart, value);
      entries.add(new Entry(area.get(at + 1), name, value));
      at += ENTRY_HEADER + Ext4Format.align4(name.length);
    }
  }

  ByteBuffer toBlock(int references) {
    ByteBuffer block = Ext4Format.newBlock();
    block.position(BLOCK_HEADER);
    putEntries(block, inBlock, 0, true);
    int hash = 0;
    for (Entry entry : inBlock) {
      hash = Integer.rotateLeft(hash, 16) ^ hash(entry);
    }
    block.putInt(0, MAGIC).putInt(4, references).putInt(8, 1).putInt(12, hash);
    return block.rewind();
  }

  private static void putEntries(
      ByteBuffer area, List<Entry> entries, int offsetBase, boolean hashed) {
    int valueEnd = area.limit();
    for (Entry entry : entries) {
      valueEnd -= Ext4Format.align4(entry.value.length);
      area.put((byte) entry.name.length).put((byte) entry.prefix);
      area.putShort((short) (entry.value.length == 0 ? 0 : valueEnd - offsetBase));
      area.putInt(0).putInt(entry.value.length).putInt(hashed ? hash(entry) : 0);
      int nameStart = area.position();
      area.put(entry.name).position(nameStart + Ext4Format.align4(entry.name.length));
      area.put(valueEnd, entry.value);
    }
  }

  /** ext4_xattr_hash_entry (fs/ext4/xattr.c). */
  private static int hash(Entry entry) {
    int hash = 0;
    for (byte b : entry.name) {
      hash = Integer.rotateLeft(hash, 5) ^ (b & 0xFF);
    }
    byte[] padded = Arrays.copyOf(entry.value, Ext4Format.align4(entry.value.length));
    ByteBuffer words = Ext4Format.littleEndian(padded);
    while (words.hasRemaining()) {
      hash = Integer.rotateLeft(hash, 16) ^ words.getInt();
    }
    return hash;
  }

  @Override
  public int compareTo(ExtendedAttributes other) {
    return Comparators.lexicographical(Entry.ORDER).compare(entries, other.entries);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ExtendedAttributes attributes && entries.equals(attributes.entries);
  }

  @Override
  public int hashCode() {
    return entries.hashCode();
  }
}
