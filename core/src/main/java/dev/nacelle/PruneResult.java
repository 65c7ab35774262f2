// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What {@link Nacelle#pruneImages} or {@link Nacelle#pruneKernels} did. Immutable. */
public final class PruneResult {
  /** What a file of the store is. More may be added: a {@code switch} has a default. */
  public enum Kind {
    /** A layer, configuration, manifest or index of a registry. */
    BLOB,
    /** All layers of an image, unpacked. */
    FILESYSTEM,
    /** What a reference meant when a registry, or apt, was last asked; digests of files. */
    NAME,
    /** A package that a kernel came in. */
    PACKAGE,
    /** A kernel that was unpacked, its modules, or what is known of it. */
    KERNEL,
    /** The initial filesystem that was made for a kernel. */
    INITRAMFS
  }

  private final List<Removed> removed;
  private final DataSize freed;
  private final DataSize left;
  private final boolean storeBusy;

  private PruneResult(List<Removed> removed, DataSize freed, DataSize left, boolean storeBusy) {
    this.removed = List.copyOf(removed);
    this.freed = Objects.requireNonNull(freed);
    this.left = Objects.requireNonNull(left);
    this.storeBusy = storeBusy;
  }

  /** With what the getters of the same names tell; copies the list. */
  public static PruneResult of(
      List<Removed> removed, DataSize freed, DataSize left, boolean storeBusy) {
    return new PruneResult(removed, freed, left, storeBusy);
  }

  /** What went. */
  public List<Removed> removed() {
    return removed;
  }

  /** What that took, with what interrupted work had left half-made. */
  public DataSize freed() {
    return freed;
  }

  /** What is still there takes, what is half-downloaded included and names not. */
  public DataSize left() {
    return left;
  }

  /**
   * Whether things stayed although nobody uses them, because some process was looking one up, which
   * may be about to use them: of images all blobs, of kernels everything. They go the next time.
   */
  public boolean storeBusy() {
    return storeBusy;
  }

  private List<Object> state() {
    return List.of(removed, freed, left, storeBusy);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof PruneResult that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return removed.size() + " files removed, " + freed + " freed, " + left + " left";
  }

  /** A file that went. Immutable. */
  public static final class Removed {
    private final Kind kind;
    private final String name;
    private final DataSize size;

    private Removed(Kind kind, String name, DataSize size) {
      this.kind = Objects.requireNonNull(kind);
      this.name = Objects.requireNonNull(name);
      this.size = Objects.requireNonNull(size);
    }

    /** With what the getters of the same names tell. */
    public static Removed of(Kind kind, String name, DataSize size) {
      return new Removed(kind, name, size);
    }

    /** What it was. */
    public Kind kind() {
      return kind;
    }

    /** Its name in the store: a blob's is its digest without the algorithm. */
    public String name() {
      return name;
    }

    /** What it took. */
    public DataSize size() {
      return size;
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Removed that
          && kind == that.kind
          && name.equals(that.name)
          && size.equals(that.size);
    }

    @Override
    public int hashCode() {
      return Objects.hash(kind, name, size);
    }

    @Override
    public String toString() {
      return kind + " " + name + ", " + size;
    }
  }
}
