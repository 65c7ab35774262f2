// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.DataSize;
import dev.nacelle.FileException;
import dev.nacelle.files.TransferListener;
import dev.nacelle.files.TransferProgress;
import dev.nacelle.internal.ListenerGuard;
import org.jspecify.annotations.Nullable;

/** Counts what is transferred, against a limit, and tells a listener. */
public final class Meter {
  private static final long BYTES = 1 << 20;
  private static final long FILES = 1000;

  private final String path;
  private final long limit;
  private final @Nullable TransferListener listener;
  private final ListenerGuard guard;
  private long total = -1;
  private long files;
  private long bytes;
  private long toldFiles;
  private long toldBytes;

  /**
   * @param path in the guest
   * @param limit of bytes
   */
  public Meter(String path, long limit, @Nullable TransferListener listener) {
    this.path = path;
    this.limit = limit;
    this.listener = listener;
    guard = new ListenerGuard("a listener of the transfer of " + path);
  }

  /** How many bytes there will be, where that is known. */
  public void total(long bytes) {
    total = bytes;
  }

  /** One file more. */
  public void file() {
    files++;
    if (files - toldFiles >= FILES) {
      tell();
    }
  }

  /**
   * So many bytes more, before they are kept.
   *
   * @throws FileException when they are too many
   */
  public void bytes(long count) {
    if (count > limit - bytes) {
      throw new FileException(
          FileException.Reason.TOO_LARGE,
          path,
          path + " has more than " + DataSize.bytes(limit),
          "Raise the limit: files().withLimit(...).",
          null);
    }
    bytes += count;
    if (bytes - toldBytes >= BYTES) {
      tell();
    }
  }

  /** All is there. */
  public void done() {
    tell();
  }

  long files() {
    return files;
  }

  long bytes() {
    return bytes;
  }

  private void tell() {
    toldFiles = files;
    toldBytes = bytes;
    TransferListener told = listener;
    if (told != null) {
      TransferProgress progress = TransferProgress.of(path, files, bytes, total);
      guard.run(() -> told.onProgress(progress));
    }
  }
}
