// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import java.util.concurrent.atomic.AtomicLong;

/**
 * Memory for what guests have sent and its receivers have not taken yet, of all networks of a
 * runtime. A network may have a quarter of what is left, and 16 MiB: those that take all they can
 * get leave others most of it. Safe for use from several threads.
 */
public final class NetworkMemory {
  private static final long MOST_OF_ONE = 16 << 20;
  private static final long LEAST = 16 << 20;
  private static final int PART_OF_HEAP = 8;
  private static final int PART_OF_REST = 4;

  private final long most;
  private final AtomicLong used = new AtomicLong();

  /**
   * @param bytes for all networks together
   */
  NetworkMemory(long bytes) {
    most = bytes;
  }

  /** An eighth of what the heap may have, and 16 MiB at least. */
  public static NetworkMemory ofRuntime() {
    return new NetworkMemory(Math.max(LEAST, Runtime.getRuntime().maxMemory() / PART_OF_HEAP));
  }

  /** What all networks have now, in bytes. */
  long used() {
    return used.get();
  }

  Share share() {
    return new Share();
  }

  /** One network's. Not safe for use from several threads. */
  final class Share {
    private long held;

    private Share() {}

    /** Whether it gets so many bytes more. */
    boolean take(int bytes) {
      long now = used.get();
      if (held + bytes > Math.min(MOST_OF_ONE, (most - now) / PART_OF_REST)) {
        return false;
      }
      // Others may have taken some meanwhile, which is not much more than the limit.
      used.addAndGet(bytes);
      held += bytes;
      return true;
    }

    void giveBack(int bytes) {
      used.addAndGet(-bytes);
      held -= bytes;
    }
  }
}
