// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import dev.nacelle.kvm.sys.Epoll;
import dev.nacelle.kvm.sys.EventFd;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The thread on which a virtual machine's devices work: it waits for doorbells and runs tasks, one
 * after the other. What a handler or task throws goes to {@code onFailure}, and the loop goes on.
 *
 * <p>Handlers and tasks take turns: all doorbells that were rung, then the tasks that wait by then.
 * A task that gives itself again keeps no doorbell waiting for longer than it takes once.
 */
public final class EventLoop implements AutoCloseable {
  private static final int WAKE_UP = 0;

  private final Thread thread;
  private final Consumer<? super Throwable> onFailure;
  private final Epoll epoll;
  private final EventFd wakeUp;

  /** By epoll key; a key is not used again, so that a late event cannot meet a new handler. */
  private final List<@Nullable Runnable> handlers = new ArrayList<>();

  private final ArrayDeque<Runnable> tasks = new ArrayDeque<>();
  private boolean awake;
  private boolean closing;

  /**
   * Starts the thread, a daemon.
   *
   * @param name of the thread
   * @param onFailure called on the loop with whatever a handler or task throws; what it throws
   *     itself is dropped
   * @throws dev.nacelle.kvm.sys.ErrnoException when the host has no descriptor left
   */
  public EventLoop(String name, Consumer<? super Throwable> onFailure) {
    this.onFailure = onFailure;
    epoll = new Epoll();
    try {
      wakeUp = new EventFd();
      try {
        epoll.add(wakeUp, WAKE_UP);
        handlers.add(null);
        thread = new Thread(this::run, name);
        thread.setDaemon(true);
        thread.start();
      } catch (RuntimeException | Error e) {
        wakeUp.close();
        throw e;
      }
    } catch (RuntimeException | Error e) {
      epoll.close();
      throw e;
    }
  }

  /** Calls the handler on the loop after each signal, until the loop is closed. From any thread. */
  public void register(EventFd eventFd, Runnable handler) {
    int key;
    synchronized (handlers) {
      key = handlers.size();
      handlers.add(handler);
    }
    epoll.add(eventFd, key);
  }

  /**
   * Runs a task on the loop, after those given earlier. From any thread; allocates nothing unless
   * more tasks wait than ever before.
   *
   * @return false when the loop is closed and the task will not run
   */
  public boolean execute(Runnable task) {
    synchronized (tasks) {
      if (closing) {
        return false;
      }
      tasks.add(task);
      if (awake) {
        return true;
      }
      awake = true;
    }
    wakeUp.signal();
    return true;
  }

  /** Whether the caller is on the loop. */
  public boolean isCurrent() {
    return thread.equals(Thread.currentThread());
  }

  private void run() {
    boolean idle = true;
    boolean ended;
    do {
      int events = epoll.await(idle);
      synchronized (tasks) {
        awake = true;
      }
      for (int i = 0; i < events; i++) {
        int key = epoll.event(i);
        if (key != WAKE_UP) {
          Runnable handler;
          synchronized (handlers) {
            handler = handlers.get(key);
          }
          attempt(handler);
        }
      }
      runWaitingTasks();
      synchronized (tasks) {
        idle = tasks.isEmpty();
        awake = !idle;
        ended = idle && closing;
      }
    } while (!ended);
  }

  /** Without those that they add. */
  private void runWaitingTasks() {
    int count;
    synchronized (tasks) {
      count = tasks.size();
    }
    for (int i = 0; i < count; i++) {
      Runnable task;
      synchronized (tasks) {
        task = tasks.poll();
      }
      attempt(task);
    }
  }

  private void attempt(@Nullable Runnable work) {
    if (work == null) {
      return;
    }
    try {
      work.run();
    } catch (Throwable e) {
      report(e);
    }
  }

  private void report(Throwable failure) {
    try {
      onFailure.accept(failure);
    } catch (Throwable e) {
      // Out of memory, for one. The loop must go on: the machine's end comes over it, too.
    }
  }

  /**
   * Runs the tasks already given, ends the thread and waits for that. Idempotent. Not from the loop
   * itself: IllegalStateException.
   */
  @Override
  public void close() {
    if (isCurrent()) {
      throw new IllegalStateException("an event loop cannot wait for its own end");
    }
    synchronized (tasks) {
      closing = true;
    }
    wakeUp.signal();
    boolean interrupted = false;
    while (true) {
      try {
        thread.join();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    epoll.close();
    wakeUp.close();
  }
}
