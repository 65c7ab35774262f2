// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * Keeps a handle of Windows from being closed under a call, and from being used afterwards: the
 * number of a closed handle can be another's at once. Safe for use from several threads, which do
 * not wait for each other but for the one that closes.
 */
final class HandleGuard {
  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
  private boolean closed;

  /** Has the handle stay open until this is unlocked; null where it is closed already. */
  @Nullable Lock use() {
    Lock use = lock.readLock();
    use.lock();
    if (closed) {
      use.unlock();
      return null;
    }
    return use;
  }

  /** Closes it when nobody uses it any more, unless it was closed before. */
  void close(Runnable closeHandle) {
    lock.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        closeHandle.run();
      }
    } finally {
      lock.writeLock().unlock();
    }
  }
}
