// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

/** A device node, FIFO or socket. */
public final class SpecialFile extends Inode {
  /** Largest device numbers of Linux (MINORBITS 20 of include/linux/kdev_t.h). */
  static final int MAX_MAJOR = 0xFFF;

  static final int MAX_MINOR = 0xFFFFF;

  private final Type type;
  private final int major;
  private final int minor;

  /** What kind of special file. */
  public enum Type {
    CHARACTER_DEVICE(Ext4Format.S_IFCHR, 3),
    BLOCK_DEVICE(Ext4Format.S_IFBLK, 4),
    FIFO(Ext4Format.S_IFIFO, 5),
    SOCKET(Ext4Format.S_IFSOCK, 6);

    private final int typeBits;
    private final int directoryEntryType;

    Type(int typeBits, int directoryEntryType) {
      this.typeBits = typeBits;
      this.directoryEntryType = directoryEntryType;
    }

    int typeBits() {
      return typeBits;
    }

    boolean isDevice() {
      return this == CHARACTER_DEVICE || this == BLOCK_DEVICE;
    }
  }

  SpecialFile(InodeAttributes attributes, Type type, int major, int minor) {
    super(attributes);
    this.type = type;
    this.major = major;
    this.minor = minor;
  }

  public Type type() {
    return type;
  }

  /** Major device number; 0 where it is no device. */
  public int major() {
    return major;
  }

  /** Minor device number; 0 where it is no device. */
  public int minor() {
    return minor;
  }

  @Override
  int typeBits() {
    return type.typeBits;
  }

  @Override
  int directoryEntryType() {
    return type.directoryEntryType;
  }

  @Override
  long size() {
    return 0;
  }
}
