// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What was read from a disk and written to it. Immutable. */
public final class DiskUse {
  private final DataSize read;
  private final DataSize written;
  private final long reads;
  private final long writes;

  private DiskUse(DataSize read, DataSize written, long reads, long writes) {
    this.read = Objects.requireNonNull(read);
    this.written = Objects.requireNonNull(written);
    this.reads = reads;
    this.writes = writes;
  }

  /** With what the getters of the same names tell. */
  public static DiskUse of(DataSize read, DataSize written, long reads, long writes) {
    return new DiskUse(read, written, reads, writes);
  }

  /** How much was read. */
  public DataSize read() {
    return read;
  }

  /** How much was written. */
  public DataSize written() {
    return written;
  }

  /** In how many requests it was read. */
  public long reads() {
    return reads;
  }

  /** In how many requests it was written. */
  public long writes() {
    return writes;
  }

  private List<Object> state() {
    return List.of(read, written, reads, writes);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof DiskUse that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return read + " in " + reads + " reads, " + written + " in " + writes + " writes";
  }
}
