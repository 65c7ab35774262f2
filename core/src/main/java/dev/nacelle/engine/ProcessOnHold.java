// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.ExitStatus;
import dev.nacelle.GuestProcess;
import dev.nacelle.HeldProcess;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.Signal;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;

/** A process that has been made, and is yet to be let go. */
final class ProcessOnHold implements HeldProcess {
  private final GuestCalls calls;
  private final RunningProcess process;
  private final long pid;
  private final AtomicBoolean released = new AtomicBoolean();

  ProcessOnHold(GuestCalls calls, RunningProcess process, long pid) {
    this.calls = calls;
    this.process = process;
    this.pid = pid;
  }

  @Override
  public long pid() {
    return pid;
  }

  @Override
  public boolean isAlive() {
    return process.isAlive();
  }

  @Override
  public void signal(Signal signal) {
    process.signal(signal);
  }

  @Override
  public CompletableFuture<ExitStatus> onExit() {
    return process.onExit();
  }

  @Override
  public GuestProcess release() {
    if (!released.compareAndSet(false, true)) {
      throw new IllegalStateException("the process was released before");
    }
    try {
      process.call().release();
      var unused = calls.await(process.call().started());
    } catch (InterruptedOperationException e) {
      process.close();
      throw e;
    }
    return process;
  }

  @Override
  public void close() {
    if (!released.get()) {
      process.close();
    }
  }
}
