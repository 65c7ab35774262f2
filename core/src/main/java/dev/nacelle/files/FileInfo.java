// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.files;

import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What a sandbox's guest says of one of its files, as stat(2) does. It is the guest's word.
 * Immutable.
 */
public final class FileInfo {
  private final String name;
  private final FileType type;
  private final int permissions;
  private final long uid;
  private final long gid;
  private final long size;
  private final long allocated;
  private final long links;
  private final Instant modified;
  private final @Nullable String linkTarget;

  private FileInfo(Builder builder) {
    name = builder.name;
    type = builder.type;
    permissions = builder.permissions;
    uid = builder.uid;
    gid = builder.gid;
    size = builder.size;
    allocated = builder.allocated;
    links = builder.links;
    modified = builder.modified;
    linkTarget = builder.linkTarget;
  }

  /**
   * An empty regular file, root's, of 1970, with permissions 0644.
   *
   * @param name as {@link #name()}
   */
  public static Builder builder(String name) {
    return new Builder(name);
  }

  /**
   * The last component of its path; empty for the root. Bytes of a name that are no UTF-8 are the
   * characters U+DC80 to U+DCFF, each for the byte of its low eight bits, and mean the same in
   * paths that are given.
   */
  public String name() {
    return name;
  }

  /** What kind of file it is. */
  public FileType type() {
    return type;
  }

  /** Whether it is a regular file. */
  public boolean isRegularFile() {
    return type == FileType.REGULAR_FILE;
  }

  /** Whether it is a directory. */
  public boolean isDirectory() {
    return type == FileType.DIRECTORY;
  }

  /** The low 12 bits of its mode, such as 0644 or 04755. */
  public int permissions() {
    return permissions;
  }

  /** Its owner's number, 0 to 2^32 - 1. */
  public long uid() {
    return uid;
  }

  /** Its group's number, 0 to 2^32 - 1. */
  public long gid() {
    return gid;
  }

  /** Bytes of a regular file, holes included; 0 for others. */
  public long size() {
    return size;
  }

  /** Bytes that it takes on its disk. */
  public long allocated() {
    return allocated;
  }

  /** How many names it has. */
  public long links() {
    return links;
  }

  /** When its content was last changed. */
  public Instant modified() {
    return modified;
  }

  /** The text of a symbolic link, as names are. */
  public Optional<String> linkTarget() {
    return Optional.ofNullable(linkTarget);
  }

  private List<Object> told() {
    return List.of(
        name, type, permissions, uid, gid, size, allocated, links, modified, linkTarget());
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof FileInfo that && told().equals(that.told());
  }

  @Override
  public int hashCode() {
    return told().hashCode();
  }

  @Override
  public String toString() {
    return name
        + ": "
        + type
        + " 0"
        + Integer.toOctalString(permissions)
        + " "
        + uid
        + ":"
        + gid
        + ", "
        + size
        + " bytes"
        + (linkTarget == null ? "" : " -> " + linkTarget);
  }

  /** Makes one, for tests of programs. Not safe for use from several threads. */
  public static final class Builder {
    private final String name;
    private FileType type = FileType.REGULAR_FILE;
    private int permissions = 0644;
    private long uid;
    private long gid;
    private long size;
    private long allocated;
    private long links = 1;
    private Instant modified = Instant.EPOCH;
    private @Nullable String linkTarget;

    private Builder(String name) {
      this.name = Objects.requireNonNull(name);
    }

    /** {@link FileInfo#type()}. */
    public Builder type(FileType type) {
      this.type = Objects.requireNonNull(type);
      return this;
    }

    /** {@link FileInfo#permissions()}. */
    public Builder permissions(int permissions) {
      this.permissions = permissions;
      return this;
    }

    /** {@link FileInfo#uid()} and {@link FileInfo#gid()}. */
    public Builder owner(long uid, long gid) {
      this.uid = uid;
      this.gid = gid;
      return this;
    }

    /** {@link FileInfo#size()} and {@link FileInfo#allocated()}, in bytes. */
    public Builder size(long size, long allocated) {
      this.size = size;
      this.allocated = allocated;
      return this;
    }

    /** {@link FileInfo#links()}. */
    public Builder links(long links) {
      this.links = links;
      return this;
    }

    /** {@link FileInfo#modified()}. */
    public Builder modified(Instant modified) {
      this.modified = Objects.requireNonNull(modified);
      return this;
    }

    /** {@link FileInfo#linkTarget()}, or null. */
    public Builder linkTarget(@Nullable String linkTarget) {
      this.linkTarget = linkTarget;
      return this;
    }

    /** The value. */
    public FileInfo build() {
      return new FileInfo(this);
    }
  }
}
