// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.files;

import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/** How far a transfer of files is. Immutable. */
public final class TransferProgress {
  private final String path;
  private final long files;
  private final long bytes;
  private final long total;

  private TransferProgress(String path, long files, long bytes, long total) {
    this.path = Objects.requireNonNull(path);
    this.files = files;
    this.bytes = bytes;
    this.total = total;
  }

  /**
   * With what the getters of the same names tell.
   *
   * @param total -1 where it is not known
   */
  public static TransferProgress of(String path, long files, long bytes, long total) {
    return new TransferProgress(path, files, bytes, total);
  }

  /** The path in the guest that the transfer is of; of a data disk, the host's directory. */
  public String path() {
    return path;
  }

  /** Files, directories and links so far. */
  public long files() {
    return files;
  }

  /** Bytes of their content so far, holes included. */
  public long bytes() {
    return bytes;
  }

  /** How many bytes there are, where that is known: of a tree and of a stream it is not. */
  public OptionalLong total() {
    return total < 0 ? OptionalLong.empty() : OptionalLong.of(total);
  }

  private List<Object> told() {
    return List.of(path, files, bytes, total);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof TransferProgress that && told().equals(that.told());
  }

  @Override
  public int hashCode() {
    return told().hashCode();
  }

  @Override
  public String toString() {
    return path + ": " + files + " files, " + bytes + (total < 0 ? "" : " of " + total) + " bytes";
  }
}
