// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import java.lang.System.Logger.Level;
import java.util.ArrayDeque;
import java.util.function.Predicate;

/**
 * Connections whose users are to be told of something. Users are called on the event loop, without
 * the device's lock and by one thread at a time; after the event loop's end, on the thread that
 * caused the event. Each connection waits once, however much happens to it meanwhile.
 */
final class UserEvents {
  private final Object lock;
  private final Predicate<Runnable> eventLoop;
  private final Runnable deliver = this::deliver;
  private final ArrayDeque<VsockConnection> waiting = new ArrayDeque<>();

  /** A thread is calling users until none waits. */
  private boolean delivering;

  /** The event loop will do that next. */
  private boolean due;

  private boolean loopEnded;

  /**
   * Nothing waits yet.
   *
   * @param lock the device's
   * @param eventLoop runs a task later; false when it has ended
   */
  UserEvents(Object lock, Predicate<Runnable> eventLoop) {
    this.lock = lock;
    this.eventLoop = eventLoop;
  }

  /** Has the user called. With the lock held. */
  void add(VsockConnection connection) {
    if (!connection.inEvents) {
      connection.inEvents = true;
      waiting.add(connection);
    }
    if (!delivering && !due && !loopEnded) {
      due = eventLoop.test(deliver);
      loopEnded = !due;
    }
  }

  /** The caller, on the event loop, will call {@link #deliver} next. With the lock held. */
  void willBeDelivered() {
    due = true;
  }

  /** There is then no better thread than the caller's. Without the lock. */
  void deliverIfLoopEnded() {
    synchronized (lock) {
      if (!loopEnded) {
        return;
      }
    }
    deliver();
  }

  /** Calls users until none waits, unless another thread does. Without the lock. */
  void deliver() {
    synchronized (lock) {
      due = false;
      if (delivering) {
        return;
      }
      delivering = true;
    }
    while (true) {
      VsockConnection connection;
      synchronized (lock) {
        connection = waiting.poll();
        if (connection == null) {
          delivering = false;
          return;
        }
        connection.inEvents = false;
      }
      try {
        connection.deliverEvent();
      } catch (RuntimeException | Error e) {
        connection.close();
        System.getLogger(VsockDevice.class.getName())
            .log(Level.WARNING, "a listener failed; " + connection + " is closed", e);
      }
    }
  }
}
