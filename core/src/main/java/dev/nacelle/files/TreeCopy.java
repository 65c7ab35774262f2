// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.files;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** What came of a directory of a guest that was copied to the host. Immutable. */
public final class TreeCopy {
  private final long files;
  private final long bytes;
  private final long skippedCount;
  private final List<String> skipped;

  private TreeCopy(long files, long bytes, long skippedCount, List<String> skipped) {
    this.files = files;
    this.bytes = bytes;
    this.skippedCount = skippedCount;
    this.skipped = List.copyOf(skipped);
  }

  /** With what the getters of the same names tell. */
  public static TreeCopy of(long files, long bytes, long skippedCount, List<String> skipped) {
    return new TreeCopy(files, bytes, skippedCount, skipped);
  }

  /** Files, directories and links that were made. */
  public long files() {
    return files;
  }

  /** Bytes of their content, holes included. */
  public long bytes() {
    return bytes;
  }

  /** How many of the guest's files are not there: devices, FIFOs, and links that lead out. */
  public long skippedCount() {
    return skippedCount;
  }

  /** The first 1000 of those: the path, a colon and the reason. The paths are the guest's. */
  public List<String> skipped() {
    return skipped;
  }

  private List<Object> told() {
    return List.of(files, bytes, skippedCount, skipped);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof TreeCopy that && told().equals(that.told());
  }

  @Override
  public int hashCode() {
    return told().hashCode();
  }

  @Override
  public String toString() {
    return files + " files, " + bytes + " bytes, " + skippedCount + " skipped";
  }
}
