// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Where a sandbox keeps what its workload writes to its root filesystem: the image itself is
 * read-only, and this lies over it. Immutable.
 */
public final class WritableLayer {
  /** Least size of a disk: 16 MiB. */
  public static final DataSize MINIMUM_DISK = DataSize.mebibytes(16);

  /** Greatest size of a disk: 16 TiB, the largest that ext4 makes of 32-bit block numbers. */
  public static final DataSize MAXIMUM_DISK = DataSize.gibibytes(16 * 1024);

  /** What a layer is made of. More may be added: a {@code switch} has a default. */
  public enum Kind {
    /** The machine's memory. */
    MEMORY,
    /** A scratch disk, which is a file of the host. */
    DISK
  }

  private static final WritableLayer IN_MEMORY = new WritableLayer(Kind.MEMORY, null);

  private final Kind kind;
  private final @Nullable DataSize size;

  private WritableLayer(Kind kind, @Nullable DataSize size) {
    this.kind = kind;
    this.size = size;
  }

  /**
   * A tmpfs in the machine's memory, as large as there is room for: files in memory, {@linkplain
   * SandboxSpec.Builder#sharedMemory shared memory} included, leave a quarter of what the machine
   * has for the workload to its processes. So who writes more gets ENOSPC, where otherwise the
   * machine would run out of memory. It holds one file, directory or link for each 8 KiB.
   */
  public static WritableLayer inMemory() {
    return IN_MEMORY;
  }

  /**
   * As {@link #inMemory()}, but no larger than this, everywhere in it together.
   *
   * @param limit at most half of the machine's memory, which {@link SandboxSpec.Builder#build}
   *     checks
   * @throws IllegalArgumentException when it is zero
   */
  public static WritableLayer inMemory(DataSize limit) {
    if (limit.bytes() == 0) {
      throw new IllegalArgumentException("the writable space is zero");
    }
    return new WritableLayer(Kind.MEMORY, limit);
  }

  /**
   * A scratch disk of that size. Who writes more gets ENOSPC.
   *
   * <p>On the host it is a sparse file in {@link Nacelle.Builder#scratchDirectory}. What the
   * workload deletes is the host's again at once, where the host's file system can make holes in
   * files. The file has no name once the machine is made, so it goes when the sandbox is closed,
   * and also when this process is killed; of a process that is killed before, the next one to make
   * a disk there removes it. Should the host's own disk be full, the workload gets EIO.
   *
   * <p>About 2 percent of it are taken by the filesystem itself, which is ext4 without a journal.
   *
   * @throws IllegalArgumentException when it is less than {@link #MINIMUM_DISK} or more than {@link
   *     #MAXIMUM_DISK}
   */
  public static WritableLayer onDisk(DataSize size) {
    if (size.compareTo(MINIMUM_DISK) < 0 || size.compareTo(MAXIMUM_DISK) > 0) {
      throw new IllegalArgumentException(
          "a disk has " + MINIMUM_DISK + " to " + MAXIMUM_DISK + ", not " + size);
    }
    return new WritableLayer(Kind.DISK, size);
  }

  /** What it is made of. */
  public Kind kind() {
    return kind;
  }

  /** The disk's size, or the limit in memory where one was given. */
  public Optional<DataSize> size() {
    return Optional.ofNullable(size);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof WritableLayer layer
        && kind == layer.kind
        && Objects.equals(size, layer.size);
  }

  @Override
  public int hashCode() {
    return Objects.hash(kind, size);
  }

  @Override
  public String toString() {
    return (size == null ? "" : size + " ") + (kind == Kind.DISK ? "on disk" : "in memory");
  }
}
