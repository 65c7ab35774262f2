// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.FileLockInterruptionException;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Locks on names in a directory, between the threads of this process and between all processes that
 * use the directory. A lock ends with its process, however that ends, so none is ever stale.
 *
 * <p>A lock is a lock on one byte of the directory's file {@code .locks}, whose position is a hash
 * of the name. Locks of fcntl(2) belong to the whole process, and closing any descriptor of the
 * file drops all of them; so there is one channel for each directory in the process, open as long
 * as something is locked. Two copies of this class in one process (of two class loaders) must
 * therefore use directories of their own.
 *
 * <p>Safe for use from several threads; a lock belongs to no thread.
 */
public final class DirectoryLocks {
  private static final String FILE = ".locks";

  /** How long to wait before asking again whether another process still holds a lock. */
  private static final long MAX_PAUSE_MILLIS = 50;

  /** What this process has locked, by file; the one lock of everything in here. */
  private static final Map<Path, LockFile> OPEN = new HashMap<>();

  private final Path directory;

  /** A lock, until it is closed. */
  public static final class Held implements AutoCloseable {
    private final LockFile file;
    private final Range range;
    private boolean closed;

    private Held(LockFile file, Range range) {
      this.file = file;
      this.range = range;
    }

    /** Gives it back. Idempotent; does not throw. */
    @Override
    public void close() {
      synchronized (OPEN) {
        if (!closed) {
          closed = true;
          file.release(range);
          OPEN.notifyAll();
        }
      }
    }
  }

  /** The byte of a name, locked by this process. */
  private static final class Range {
    private final long position;
    private final FileLock lock;
    private int holders;

    Range(long position, FileLock lock) {
      this.position = position;
      this.lock = lock;
    }
  }

  private static final class LockFile {
    private final Path path;
    private final FileChannel channel;
    private final Map<Long, Range> ranges = new HashMap<>();

    LockFile(Path path) throws IOException {
      this.path = path;
      channel =
          FileChannel.open(
              path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    }

    @Nullable Range tryLock(long position, boolean shared) throws IOException {
      Range range = ranges.get(position);
      if (range == null) {
        FileLock lock;
        try {
          lock = channel.tryLock(position, 1, shared);
        } catch (OverlappingFileLockException e) {
          throw new IOException("another class loader of this process uses " + path.getParent(), e);
        }
        if (lock == null) {
          return null;
        }
        range = new Range(position, lock);
        ranges.put(position, range);
      } else if (!shared || !range.lock.isShared()) {
        return null;
      }
      range.holders++;
      return range;
    }

    void release(Range range) {
      if (--range.holders == 0) {
        ranges.remove(range.position);
        try {
          range.lock.release();
        } catch (IOException e) {
          // Only when the channel is closed, which ends all locks.
        }
        closeIfUnused();
      }
    }

    void closeIfUnused() {
      if (ranges.isEmpty()) {
        OPEN.remove(path);
        try {
          channel.close();
        } catch (IOException e) {
          // Nothing was written to it.
        }
      }
    }
  }

  /** Locks in a directory, which is created with the first one when it is absent. */
  public DirectoryLocks(Path directory) {
    this.directory = directory.toAbsolutePath().normalize();
  }

  /**
   * Waits until nobody else has that name, and locks it.
   *
   * @throws FileLockInterruptionException when the thread is interrupted, as it then still is
   * @throws IOException when the directory cannot be written to
   */
  public Held exclusive(String name) throws IOException {
    return lock(name, false, () -> {});
  }

  /**
   * As {@link #exclusive(String)}.
   *
   * @param whileWaiting called again and again, with all locks of this process waiting for it; what
   *     it throws ends the wait
   */
  public Held exclusive(String name, Runnable whileWaiting) throws IOException {
    return lock(name, false, whileWaiting);
  }

  /** As {@link #exclusive(String)}, but any number may have a name shared. */
  public Held shared(String name) throws IOException {
    return lock(name, true, () -> {});
  }

  /** Locks a name if nobody has it; otherwise returns null. */
  public @Nullable Held tryExclusive(String name) throws IOException {
    synchronized (OPEN) {
      return tryLock(name, false);
    }
  }

  /**
   * By asking again and again: a thread that waits in {@link FileChannel#lock} and is interrupted
   * closes the channel, with everybody's locks.
   */
  private Held lock(String name, boolean shared, Runnable whileWaiting) throws IOException {
    long pause = 1;
    synchronized (OPEN) {
      for (Held held; ; pause = Math.min(2 * pause, MAX_PAUSE_MILLIS)) {
        if ((held = tryLock(name, shared)) != null) {
          return held;
        }
        whileWaiting.run();
        try {
          OPEN.wait(pause);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          throw new FileLockInterruptionException();
        }
      }
    }
  }

  private @Nullable Held tryLock(String name, boolean shared) throws IOException {
    // JDK-8294193: older ones refuse to create what is a link to a directory.
    if (!Files.isDirectory(directory)) {
      Files.createDirectories(directory);
    }
    // One channel per file takes one name per file.
    Path path = directory.toRealPath().resolve(FILE);
    LockFile file = OPEN.get(path);
    if (file == null) {
      file = new LockFile(path);
      OPEN.put(path, file);
    }
    try {
      Range range = file.tryLock(position(name), shared);
      return range == null ? null : new Held(file, range);
    } finally {
      file.closeIfUnused();
    }
  }

  private static long position(String name) {
    try {
      byte[] hash =
          MessageDigest.getInstance("SHA-256").digest(name.getBytes(StandardCharsets.UTF_8));
      return ByteBuffer.wrap(hash).getLong() >>> 2;
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
