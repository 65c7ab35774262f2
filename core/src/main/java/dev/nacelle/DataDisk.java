// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.files.TransferListener;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * A disk with files that a sandbox has beside its image: {@link SandboxSpec.Builder#dataDisk} says
 * where it is mounted. Immutable; one value may be used for any number of sandboxes.
 *
 * <p>What is written to a disk of {@link #of} or {@link #empty} is its sandbox's alone and goes
 * with it. To keep it, make an image first, with {@link Nacelle#makeDisk}, and give that.
 */
public final class DataDisk {
  /** Least size of an {@linkplain #empty empty} disk: 16 MiB. */
  public static final DataSize MINIMUM_SIZE = WritableLayer.MINIMUM_DISK;

  /** Greatest size of a disk: 16 TiB. */
  public static final DataSize MAXIMUM_SIZE = WritableLayer.MAXIMUM_DISK;

  /** Default of {@link #freeSpace()}: 1 GiB. */
  public static final DataSize DEFAULT_FREE_SPACE = DataSize.gibibytes(1);

  /** The most files that a directory has of which a disk is made: two million. */
  public static final int MAXIMUM_FILES = 2_000_000;

  private static final long MAX_ID = 0xffff_fffeL;

  /** What a disk begins with. More may be added: a {@code switch} has a default. */
  public enum Kind {
    /** A copy of a directory of the host. */
    DIRECTORY,
    /** Nothing. */
    EMPTY,
    /** What is in the image of a filesystem, which is used where it is. */
    IMAGE
  }

  private final Kind kind;
  private final @Nullable Path path;
  private final @Nullable DataSize size;
  private final DataSize freeSpace;
  private final boolean readOnly;
  private final @Nullable Long uid;
  private final @Nullable Long gid;
  private final @Nullable TransferListener listener;

  private DataDisk(
      Kind kind,
      @Nullable Path path,
      @Nullable DataSize size,
      DataSize freeSpace,
      boolean readOnly,
      @Nullable Long uid,
      @Nullable Long gid,
      @Nullable TransferListener listener) {
    this.kind = kind;
    this.path = path;
    this.size = size;
    this.freeSpace = freeSpace;
    this.readOnly = readOnly;
    this.uid = uid;
    this.gid = gid;
    this.listener = listener;
  }

  private static DataDisk plain(Kind kind, @Nullable Path path, @Nullable DataSize size) {
    return new DataDisk(kind, path, size, DEFAULT_FREE_SPACE, false, null, null, null);
  }

  /**
   * A copy of a directory of the host, made anew for each sandbox as it starts, with {@link
   * #withFreeSpace} beside it to write to. The directory itself is never written to. Owners,
   * permissions, times, symbolic and hard links and extended attributes of users ({@code user.*})
   * are copied; blocks of zeros become holes. Links are not followed. Sockets, FIFOs and devices
   * are left out, and of extended attributes capabilities and ACLs, which Java does not get. On a
   * host without owners and permissions all is root's, with 0644 and 0755.
   *
   * <p>Nobody should change the directory while it is copied: a file that goes away or becomes
   * shorter fails the start, with its path. Who may change it decides what is in the disk.
   *
   * @param directory its content is read when a sandbox starts
   */
  public static DataDisk of(Path directory) {
    return plain(Kind.DIRECTORY, Objects.requireNonNull(directory), null);
  }

  /**
   * An empty disk of that size, of which about 2 percent are taken by the filesystem itself. It
   * takes space of the host as it is written to.
   *
   * @throws IllegalArgumentException when it is less than {@link #MINIMUM_SIZE} or more than {@link
   *     #MAXIMUM_SIZE}
   */
  public static DataDisk empty(DataSize size) {
    if (size.compareTo(MINIMUM_SIZE) < 0 || size.compareTo(MAXIMUM_SIZE) > 0) {
      throw new IllegalArgumentException(
          "a disk has " + MINIMUM_SIZE + " to " + MAXIMUM_SIZE + ", not " + size);
    }
    return plain(Kind.EMPTY, null, size);
  }

  /**
   * The filesystem in an image: one that {@link Nacelle#makeDisk} made, or any other of ext4 that
   * the sandbox's kernel mounts. It is used where it is, and what is written to it stays in it.
   *
   * <p>While a sandbox can write to it nobody else has it; any number may read it at once. A
   * sandbox that is closed leaves it clean. One that is killed, or that ends by itself, leaves it
   * as a machine does whose power fails: what was not yet on the disk is lost, and what has a
   * journal is whole again when it is next given to be written to.
   *
   * <p>On Windows the file gets 512 bytes behind its end, by which Hyper-V knows it.
   *
   * @param image a regular file of whole blocks of 4096 bytes, and no VHDX
   */
  public static DataDisk image(Path image) {
    return plain(Kind.IMAGE, Objects.requireNonNull(image), null);
  }

  /** The same, which can only be read; the host sees to that. */
  public DataDisk readOnly() {
    return new DataDisk(kind, path, size, freeSpace, true, uid, gid, listener);
  }

  /**
   * The same with at least that much room beside what was copied. It takes space of the host as it
   * is written to.
   *
   * @throws IllegalArgumentException when it is more than {@link #MAXIMUM_SIZE}, or the disk is not
   *     a copy of a directory
   */
  public DataDisk withFreeSpace(DataSize space) {
    if (kind != Kind.DIRECTORY || space.compareTo(MAXIMUM_SIZE) > 0) {
      throw new IllegalArgumentException(
          "free space is for copies of directories, and at most " + MAXIMUM_SIZE + ": " + space);
    }
    return new DataDisk(kind, path, size, space, readOnly, uid, gid, listener);
  }

  /**
   * The same whose files, and whose root, are that user's and group's.
   *
   * @param uid 0 to 2^32 - 2
   * @param gid likewise
   * @throws IllegalArgumentException when one is out of its range, or the disk is an image
   */
  public DataDisk withOwner(long uid, long gid) {
    if (kind == Kind.IMAGE || uid < 0 || uid > MAX_ID || gid < 0 || gid > MAX_ID) {
      throw new IllegalArgumentException(
          "owners are of disks that are made, and from 0 to 2^32 - 2: " + uid + ":" + gid);
    }
    return new DataDisk(kind, path, size, freeSpace, readOnly, uid, gid, listener);
  }

  /** The same with a listener that is told how far the copy of a directory is. */
  public DataDisk withListener(@Nullable TransferListener listener) {
    return new DataDisk(kind, path, size, freeSpace, readOnly, uid, gid, listener);
  }

  /** What it begins with. */
  public Kind kind() {
    return kind;
  }

  /** The directory or the image; empty for an empty disk. */
  public Optional<Path> path() {
    return Optional.ofNullable(path);
  }

  /** The size of an empty disk. */
  public Optional<DataSize> size() {
    return Optional.ofNullable(size);
  }

  /** How much room a copy of a directory has beside it, unless it can only be read. */
  public DataSize freeSpace() {
    return freeSpace;
  }

  /** Whether it can only be read. */
  public boolean isReadOnly() {
    return readOnly;
  }

  /** Whose its files are, where that was said. */
  public OptionalLong uid() {
    return uid == null ? OptionalLong.empty() : OptionalLong.of(uid);
  }

  /** The same of their group. */
  public OptionalLong gid() {
    return gid == null ? OptionalLong.empty() : OptionalLong.of(gid);
  }

  /** What is told how far a copy is. */
  public Optional<TransferListener> listener() {
    return Optional.ofNullable(listener);
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(kind, path, size, freeSpace, readOnly, uid, gid, listener);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof DataDisk disk && state().equals(disk.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    String what =
        switch (kind) {
          case DIRECTORY -> "a copy of " + path;
          case EMPTY -> "an empty disk of " + size;
          case IMAGE -> String.valueOf(path);
        };
    return what + (readOnly ? ", read-only" : "");
  }
}
