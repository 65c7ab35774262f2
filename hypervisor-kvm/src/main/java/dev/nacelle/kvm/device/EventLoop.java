// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import dev.nacelle.kvm.sys.Epoll;
import dev.nacelle.kvm.sys.EventFd;
import dev.nacelle.kvm.sys.Pollable;
import dev.nacelle.spi.MachineClock;
import dev.nacelle.spi.MachineThread;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The thread on which a virtual machine's devices work: it waits for doorbells and timers and runs
 * tasks, one after the other. What any of them throws goes to {@code onFailure}, and the loop goes
 * on.
 *
 * <p>They take turns: all doorbells that were rung, the timers whose time has come, then the tasks
 * that wait by then. A task that gives itself again keeps no doorbell waiting for longer than it
 * takes once.
 */
public final class EventLoop implements AutoCloseable {
  private static final int WAKE_UP = 0;
  private static final long NANOS_PER_MILLISECOND = 1_000_000;

  private final Thread thread;
  private final CompletableFuture<@Nullable Void> ended = new CompletableFuture<>();
  private final Consumer<? super Throwable> onFailure;
  private final Epoll epoll;
  private final EventFd wakeUp;

  /** By epoll key; a key is not used again, so that a late event cannot meet a new handler. */
  private final List<@Nullable Runnable> handlers = new ArrayList<>();

  private final ArrayDeque<Runnable> tasks = new ArrayDeque<>();

  private final MachineClock clock = new MachineClock();

  /** A few for each device, made with it. */
  private final List<LoopTimer> timers = new CopyOnWriteArrayList<>();

  private boolean awake;
  private boolean closing;

  /** One time that the loop is to rest. */
  private static final class Pause {
    private final Runnable last;
    private boolean reached;

    Pause(Runnable last) {
      this.last = last;
    }
  }

  /** Null when the loop is not to rest; guarded by {@link #tasks}. */
  private @Nullable Pause pause;

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
        thread = new MachineThread(this::live, name);
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
  public void register(Pollable source, Runnable handler) {
    int key;
    synchronized (handlers) {
      key = handlers.size();
      handlers.add(handler);
    }
    epoll.add(source, key);
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

  /**
   * Has nothing run on the loop until {@link #resume}: no handler, no timer, no task. Meanwhile
   * {@link #nanoTime} stands still, and what is given to the loop waits. From any other thread;
   * returns at once.
   *
   * @param last what the loop does before it rests; what it throws goes to {@code onFailure}
   */
  public void pause(Runnable last) {
    synchronized (tasks) {
      pause = new Pause(last);
    }
    wakeUp.signal();
  }

  /**
   * Waits until the loop rests, or is to go on.
   *
   * @param deadline of {@link System#nanoTime}
   * @return false when it does not until then
   */
  public boolean awaitRest(long deadline) throws InterruptedException {
    synchronized (tasks) {
      Pause awaited = pause;
      while (awaited != null && awaited == pause && !awaited.reached) {
        long millis = (deadline - System.nanoTime()) / NANOS_PER_MILLISECOND;
        if (millis <= 0) {
          return false;
        }
        tasks.wait(millis);
      }
      return true;
    }
  }

  /** Has the loop go on. From any thread; of no effect when it is not paused. */
  public void resume() {
    synchronized (tasks) {
      pause = null;
      tasks.notifyAll();
    }
  }

  /** {@link DeviceResources#nanoTime}. From any thread. */
  public long nanoTime() {
    return clock.nanoTime();
  }

  /** {@link DeviceResources#timer}; kept until the loop is closed, and not called later. */
  public Timer timer(Runnable onTime) {
    LoopTimer timer = new LoopTimer(onTime);
    timers.add(timer);
    return timer;
  }

  /** Guarded by {@link #tasks}. */
  private final class LoopTimer implements Timer {
    private final Runnable onTime;
    private boolean set;
    private long time;

    LoopTimer(Runnable onTime) {
      this.onTime = onTime;
    }

    @Override
    public void set(long nanoTime) {
      synchronized (tasks) {
        time = nanoTime;
        set = true;
        if (awake || closing) {
          return; // the loop looks at its timers before it waits
        }
        awake = true;
      }
      wakeUp.signal();
    }

    boolean takeIfDue(long now) {
      synchronized (tasks) {
        boolean due = set && time - now <= 0;
        set &= !due;
        return due;
      }
    }
  }

  /** Whether the caller is on the loop. */
  public boolean isCurrent() {
    return thread.equals(Thread.currentThread());
  }

  /** The loop's thread. */
  public Thread thread() {
    return thread;
  }

  /** Completes as the last thing that the loop's thread does. */
  public CompletableFuture<@Nullable Void> ended() {
    return ended;
  }

  private void live() {
    try {
      run();
    } finally {
      epoll.close();
      wakeUp.close();
      ended.complete(null);
    }
  }

  private void run() {
    int patience = Epoll.FOREVER;
    boolean ended;
    do {
      int events = epoll.await(patience);
      synchronized (tasks) {
        awake = true;
      }
      restWhilePaused();
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
      callDueTimers();
      runWaitingTasks();
      synchronized (tasks) {
        boolean idle = tasks.isEmpty();
        awake = !idle;
        ended = idle && closing;
        patience = idle ? millisecondsToTimer() : 0;
      }
    } while (!ended);
  }

  private void restWhilePaused() {
    for (Pause next = pause(); next != null; next = pause()) {
      attempt(next.last);
      boolean interrupted = false;
      synchronized (tasks) {
        clock.pause();
        next.reached = true;
        tasks.notifyAll();
        while (pause == next) {
          try {
            tasks.wait();
          } catch (InterruptedException e) {
            interrupted = true;
          }
        }
        clock.resume();
      }
      if (interrupted) {
        thread.interrupt();
      }
    }
  }

  private @Nullable Pause pause() {
    synchronized (tasks) {
      return pause;
    }
  }

  private void callDueTimers() {
    for (int i = 0; i < timers.size(); i++) {
      LoopTimer timer = timers.get(i);
      if (timer.takeIfDue(nanoTime())) {
        attempt(timer.onTime);
      }
    }
  }

  /** Until the first one is due, rounded up. Call with the lock. */
  private int millisecondsToTimer() {
    long soonest = Long.MAX_VALUE;
    long now = nanoTime();
    for (int i = 0; i < timers.size(); i++) {
      LoopTimer timer = timers.get(i);
      if (timer.set) {
        soonest = Math.min(soonest, Math.max(timer.time - now, 0));
      }
    }
    if (soonest == Long.MAX_VALUE) {
      return Epoll.FOREVER;
    }
    long milliseconds = (soonest + NANOS_PER_MILLISECOND - 1) / NANOS_PER_MILLISECOND;
    return (int) Math.min(milliseconds, Integer.MAX_VALUE);
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
   * Has the thread end after the tasks already given, paused or not; from any thread, idempotent.
   */
  public void shutdown() {
    synchronized (tasks) {
      closing = true;
      pause = null;
      tasks.notifyAll();
    }
    wakeUp.signal();
  }

  /** As {@link #shutdown}, and waits for that. Not from the loop itself: IllegalStateException. */
  @Override
  public void close() {
    if (isCurrent()) {
      throw new IllegalStateException("an event loop cannot wait for its own end");
    }
    shutdown();
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
  }
}
