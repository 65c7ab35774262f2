// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Pollable;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * A machine for one device without KVM: real guest memory; doorbells ring and tasks run on the
 * test's own thread, when the test says so.
 */
public final class FakeDeviceResources implements DeviceResources, AutoCloseable {
  /** So that it overflows soon, as {@link System#nanoTime} may at any time. */
  private static final long FIRST_NANO_TIME = Long.MAX_VALUE - 5_000_000_000L;

  private record Doorbell(long offset, int value) {}

  private final GuestMemory memory;
  private final AtomicInteger interrupts = new AtomicInteger();
  private final Map<Doorbell, Runnable> doorbells = new HashMap<>();
  private final Queue<Runnable> tasks = new ArrayDeque<>();
  private final List<FakeTimer> timers = new ArrayList<>();
  private long nanoTime = FIRST_NANO_TIME;
  private @Nullable Error interruptFailure;
  private final List<Runnable> watchers = new ArrayList<>();

  /**
   * @param memorySize in bytes, a multiple of 4096
   */
  public FakeDeviceResources(long memorySize) {
    memory = GuestMemory.allocate(memorySize);
  }

  @Override
  public GuestMemory memory() {
    return memory;
  }

  @Override
  public InterruptLine interrupt() {
    return () -> {
      Error failure = interruptFailure;
      if (failure != null) {
        throw failure;
      }
      interrupts.incrementAndGet();
    };
  }

  @Override
  public void doorbell(long offset, int value, Runnable onWrite) {
    doorbells.put(new Doorbell(offset, value), onWrite);
  }

  @Override
  public void watch(Pollable source, Runnable handler) {
    watchers.add(handler);
  }

  @Override
  public boolean execute(Runnable task) {
    synchronized (tasks) {
      return tasks.add(task);
    }
  }

  /** Time goes by when the test says so. */
  @Override
  public long nanoTime() {
    return nanoTime;
  }

  @Override
  public Timer timer(Runnable onTime) {
    FakeTimer timer = new FakeTimer(onTime);
    timers.add(timer);
    return timer;
  }

  private static final class FakeTimer implements Timer {
    private final Runnable onTime;
    private boolean set;
    private long time;

    FakeTimer(Runnable onTime) {
      this.onTime = onTime;
    }

    @Override
    public void set(long newTime) {
      set = true;
      time = newTime;
    }
  }

  /** Lets time go by, from one timer to the next; each does its work when its time has come. */
  public void advance(Duration duration) {
    long end = nanoTime + duration.toNanos();
    while (true) {
      FakeTimer next = null;
      for (FakeTimer timer : timers) {
        if (timer.set && timer.time - end <= 0 && (next == null || timer.time - next.time < 0)) {
          next = timer;
        }
      }
      if (next == null) {
        break;
      }
      nanoTime = next.time - nanoTime > 0 ? next.time : nanoTime;
      next.set = false;
      next.onTime.run();
      runTasks();
    }
    nanoTime = end;
  }

  /** How many timers are set. */
  public long setTimers() {
    return timers.stream().filter(timer -> timer.set).count();
  }

  /** How many tasks wait. */
  public int waitingTasks() {
    synchronized (tasks) {
      return tasks.size();
    }
  }

  /**
   * What the guest's write to a register with a doorbell does.
   *
   * @throws NullPointerException when no doorbell is there
   */
  public void ring(long offset, int value) {
    Objects.requireNonNull(doorbells.get(new Doorbell(offset, value))).run();
  }

  /** Whether there is a doorbell. */
  public boolean hasDoorbell(long offset, int value) {
    return doorbells.containsKey(new Doorbell(offset, value));
  }

  /** Runs waiting tasks, and those that they add, until none is left. */
  public void runTasks() {
    while (true) {
      Runnable task;
      synchronized (tasks) {
        task = tasks.poll();
      }
      if (task == null) {
        return;
      }
      task.run();
    }
  }

  /** Has interrupts fail from now on, as a host may that is out of memory. */
  public void failInterrupts(Error failure) {
    interruptFailure = failure;
  }

  /** Runs the handlers of all sources that are watched, as if each had signalled, then tasks. */
  public void runWatchers() {
    watchers.forEach(Runnable::run);
    runTasks();
  }

  /** How many interrupts were raised since the last call. */
  public int takeInterrupts() {
    return interrupts.getAndSet(0);
  }

  @Override
  public void close() {
    memory.close();
  }
}
