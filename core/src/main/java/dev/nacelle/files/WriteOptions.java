// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.files;

import java.util.List;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/** How a file of a sandbox is written. Immutable. */
public final class WriteOptions {
  /** What becomes of a file that is there. More may be added: a {@code switch} has a default. */
  public enum Existing {
    /** Its content is replaced. */
    REPLACE,
    /** It stays, and the write fails. */
    FAIL,
    /** What is written is added to it. */
    APPEND
  }

  /** A file that is there is replaced; a new one is root's, with permissions 0644. */
  public static final WriteOptions DEFAULT = builder().build();

  private final Existing existing;
  private final boolean atomic;
  private final @Nullable Integer permissions;
  private final @Nullable Long uid;
  private final @Nullable Long gid;

  private WriteOptions(Builder builder) {
    existing = builder.existing;
    atomic = builder.atomic;
    permissions = builder.permissions;
    uid = builder.uid;
    gid = builder.gid;
  }

  /** Those of {@link #DEFAULT}. */
  public static Builder builder() {
    return new Builder();
  }

  /** These, to be changed. */
  public Builder toBuilder() {
    Builder builder = new Builder();
    builder.existing = existing;
    builder.atomic = atomic;
    builder.permissions = permissions;
    builder.uid = uid;
    builder.gid = gid;
    return builder;
  }

  /** What becomes of a file that is there. */
  public Existing existing() {
    return existing;
  }

  /** Whether it appears as a whole or not at all. */
  public boolean atomic() {
    return atomic;
  }

  /** The low 12 bits of its mode, where they are given. */
  public OptionalInt permissions() {
    return permissions == null ? OptionalInt.empty() : OptionalInt.of(permissions);
  }

  /** Its owner's number, where it is given. */
  public OptionalLong uid() {
    return uid == null ? OptionalLong.empty() : OptionalLong.of(uid);
  }

  /** Its group's number, where it is given. */
  public OptionalLong gid() {
    return gid == null ? OptionalLong.empty() : OptionalLong.of(gid);
  }

  private List<Object> told() {
    return List.of(
        existing, atomic, String.valueOf(permissions), String.valueOf(uid), String.valueOf(gid));
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof WriteOptions that && told().equals(that.told());
  }

  @Override
  public int hashCode() {
    return told().hashCode();
  }

  @Override
  public String toString() {
    return existing
        + (atomic ? ", atomic" : "")
        + (permissions == null ? "" : ", 0" + Integer.toOctalString(permissions))
        + (uid == null ? "" : ", " + uid + ":" + gid);
  }

  /** Makes options. Not safe for use from several threads. */
  public static final class Builder {
    private Existing existing = Existing.REPLACE;
    private boolean atomic;
    private @Nullable Integer permissions;
    private @Nullable Long uid;
    private @Nullable Long gid;

    private Builder() {}

    /** What becomes of a file that is there; by default it is replaced. */
    public Builder existing(Existing existing) {
      this.existing = Objects.requireNonNull(existing);
      return this;
    }

    /**
     * Whether the file appears under its name when it is whole, in place of the one that was there,
     * or not at all. It takes the room of both meanwhile, and a symbolic link is replaced, where it
     * is followed otherwise. A file that is replaced hands on its permissions and owner. Not with
     * {@link Existing#APPEND}. By default false.
     */
    public Builder atomic(boolean atomic) {
      this.atomic = atomic;
      return this;
    }

    /**
     * The low 12 bits of its mode. By default those of the file that is there, or 0644.
     *
     * @throws IllegalArgumentException when there are other bits
     */
    public Builder permissions(int permissions) {
      if ((permissions & ~07777) != 0) {
        throw new IllegalArgumentException(
            "no permissions: 0" + Integer.toOctalString(permissions));
      }
      this.permissions = permissions;
      return this;
    }

    /**
     * Its owner and group. By default those of the file that is there, or root.
     *
     * @param uid 0 to 2^32 - 2
     * @param gid likewise
     * @throws IllegalArgumentException when they are not
     */
    public Builder owner(long uid, long gid) {
      this.uid = checkId(uid);
      this.gid = checkId(gid);
      return this;
    }

    private static long checkId(long id) {
      if (id < 0 || id >= 0xFFFF_FFFFL) {
        throw new IllegalArgumentException("no number of a user or a group: " + id);
      }
      return id;
    }

    /**
     * The value.
     *
     * @throws IllegalArgumentException when it is to be atomic and to append
     */
    public WriteOptions build() {
      if (atomic && existing == Existing.APPEND) {
        throw new IllegalArgumentException("an atomic write replaces a file, and adds to none");
      }
      return new WriteOptions(this);
    }
  }
}
