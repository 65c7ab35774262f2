// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.io.InputStream;
import java.io.OutputStream;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** A process of a guest as the JDK knows processes. */
final class ProcessView extends Process {
  private final GuestProcess process;

  ProcessView(GuestProcess process) {
    this.process = process;
  }

  @Override
  public OutputStream getOutputStream() {
    return process.stdin();
  }

  @Override
  public InputStream getInputStream() {
    return process.stdout();
  }

  @Override
  public InputStream getErrorStream() {
    return process.stderr();
  }

  @Override
  public int waitFor() throws InterruptedException {
    try {
      return process.onExit().get().exitCode();
    } catch (ExecutionException e) {
      return process.waitFor().exitCode(); // throws on this thread
    }
  }

  @Override
  public boolean waitFor(long timeout, TimeUnit unit) throws InterruptedException {
    try {
      process.onExit().get(timeout, unit);
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException e) {
      var unused = process.waitFor(); // likewise
    }
    return true;
  }

  @Override
  public int exitValue() {
    if (process.isAlive()) {
      throw new IllegalThreadStateException("the process has not ended");
    }
    return process.waitFor().exitCode();
  }

  @Override
  public boolean isAlive() {
    return process.isAlive();
  }

  @Override
  public void destroy() {
    signal(Signal.TERM);
  }

  @Override
  public Process destroyForcibly() {
    signal(Signal.KILL);
    return this;
  }

  /** Of a sandbox that has ended there is nothing to be destroyed. */
  private void signal(Signal signal) {
    try {
      process.signal(signal);
    } catch (SandboxEndedException e) {
      // As of a process that has ended.
    }
  }

  @Override
  public boolean supportsNormalTermination() {
    return true;
  }

  @Override
  public long pid() {
    return process.pid();
  }

  @Override
  public CompletableFuture<Process> onExit() {
    return process.onExit().thenApply(status -> this);
  }

  @Override
  public String toString() {
    return process.toString();
  }
}
