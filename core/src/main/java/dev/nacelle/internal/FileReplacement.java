// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.TimeUnit;

/**
 * Replaces and removes files that somebody may have open. Linux takes the name away, and whoever
 * has the file open keeps it. Windows refuses as long as anybody has it mapped, or open without
 * permitting that (FILE_SHARE_DELETE), which virus scanners and indexers do for moments.
 */
public final class FileReplacement {
  /** How long somebody else may have a file open that is moved or replaced. */
  private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(5);

  private static final long PAUSE_MILLIS = 10;

  private FileReplacement() {}

  /**
   * Gives a file another name in the same directory, in one step, in place of a file that has it.
   * On Windows this waits some seconds for those who have that one open.
   *
   * @throws InterruptedIOException when the thread is interrupted meanwhile, as it then still is
   */
  public static void move(Path from, Path to) throws IOException {
    long start = System.nanoTime();
    while (true) {
      try {
        Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
        return;
      } catch (FileSystemException e) {
        if (!mayBeOpen(e) || System.nanoTime() - start > PATIENCE_NANOS) {
          throw e;
        }
      }
      try {
        Thread.sleep(PAUSE_MILLIS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new InterruptedIOException("interrupted while replacing " + to);
      }
    }
  }

  /**
   * Removes a file, unless Windows refuses because somebody has it open. There a file may also stay
   * under its name until the last one closes it.
   *
   * @return whether it was there, and is gone
   */
  public static boolean tryDelete(Path file) throws IOException {
    try {
      return Files.deleteIfExists(file) && !(OperatingSystem.isWindows() && Files.exists(file));
    } catch (FileSystemException e) {
      if (mayBeOpen(e)) {
        return false;
      }
      throw e;
    }
  }

  /**
   * Whether Windows may have refused for that reason: it says ERROR_ACCESS_DENIED, which may have
   * others, or ERROR_SHARING_VIOLATION or ERROR_USER_MAPPED_FILE, for which Java has no types.
   */
  private static boolean mayBeOpen(FileSystemException e) {
    return OperatingSystem.isWindows()
        && (e instanceof AccessDeniedException || e.getClass() == FileSystemException.class);
  }
}
