// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.spi.MachineThread;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/**
 * A payload that a thread of its own puts into memory, which is its until {@link #await} returns.
 */
final class Loading {
  private final FutureTask<InitialState> task;
  private final Thread thread;

  private Loading(FutureTask<InitialState> task, Thread thread) {
    this.task = task;
    this.thread = thread;
  }

  static Loading begin(MachineSpec spec, GuestMemory memory, String threadName) {
    FutureTask<InitialState> task =
        new FutureTask<>(() -> spec.payload().load(memory, spec.hardware()));
    Thread thread = new MachineThread(task, threadName);
    thread.start();
    return new Loading(task, thread);
  }

  /** Waits for its end. Interrupts are kept for later. */
  void await() {
    Teardown.join(thread);
  }

  /** Waits for its end; returns where the guest starts, or throws what loading has thrown. */
  InitialState result() {
    await();
    try {
      return task.get();
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      if (cause instanceof Error error) {
        throw error;
      }
      // It declares no other.
      throw (RuntimeException) cause;
    } catch (InterruptedException e) {
      throw new IllegalStateException("a task that has ended is not waited for", e);
    }
  }
}
