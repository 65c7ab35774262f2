// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import dev.nacelle.kvm.memory.GuestMemory;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A machine for one device without KVM: real guest memory; doorbells ring and tasks run on the
 * test's own thread, when the test says so.
 */
public final class FakeDeviceResources implements DeviceResources, AutoCloseable {
  private record Doorbell(long offset, int value) {}

  private final GuestMemory memory;
  private final AtomicInteger interrupts = new AtomicInteger();
  private final Map<Doorbell, Runnable> doorbells = new HashMap<>();
  private final Queue<Runnable> tasks = new ArrayDeque<>();

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
    return interrupts::incrementAndGet;
  }

  @Override
  public void doorbell(long offset, int value, Runnable onWrite) {
    doorbells.put(new Doorbell(offset, value), onWrite);
  }

  @Override
  public boolean execute(Runnable task) {
    synchronized (tasks) {
      return tasks.add(task);
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

  /** How many interrupts were raised since the last call. */
  public int takeInterrupts() {
    return interrupts.getAndSet(0);
  }

  @Override
  public void close() {
    memory.close();
  }
}
