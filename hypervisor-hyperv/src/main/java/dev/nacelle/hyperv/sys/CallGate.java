// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** Lets calls in until it is shut, and knows when the last of them has left. */
final class CallGate {
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition empty = lock.newCondition();
  private int inside;
  private boolean shut;

  /**
   * Lets the caller in, who leaves.
   *
   * @throws IllegalStateException when it is shut
   */
  void enter(String name) {
    lock.lock();
    try {
      if (shut) {
        throw new IllegalStateException("closed: " + name);
      }
      inside++;
    } finally {
      lock.unlock();
    }
  }

  void leave() {
    lock.lock();
    try {
      if (--inside == 0) {
        empty.signalAll();
      }
    } finally {
      lock.unlock();
    }
  }

  void shut() {
    lock.lock();
    try {
      shut = true;
    } finally {
      lock.unlock();
    }
  }

  /** Waits until nobody is inside; returns false when the time was over. */
  boolean awaitEmpty(Duration limit) {
    boolean interrupted = false;
    long deadline = System.nanoTime() + limit.toNanos();
    lock.lock();
    try {
      while (inside > 0) {
        try {
          long left = deadline - System.nanoTime();
          if (left <= 0 || !empty.await(left, TimeUnit.NANOSECONDS)) {
            return inside == 0;
          }
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
      return true;
    } finally {
      lock.unlock();
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
