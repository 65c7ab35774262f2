// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.ExitStatus;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;

/** Keeps what a process did. */
class RecordingListener implements ProcessListener {
  final CompletableFuture<Long> started = new CompletableFuture<>();
  final CompletableFuture<ExitStatus> exit = new CompletableFuture<>();
  final CompletableFuture<StartFailure> startFailure = new CompletableFuture<>();
  final CompletableFuture<AgentException> failure = new CompletableFuture<>();
  final Semaphore writable = new Semaphore(0);
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  @Override
  public void onStarted(long pid) {
    started.complete(pid);
  }

  @Override
  public boolean onOutput(boolean error, ByteBuffer bytes) {
    byte[] array = new byte[bytes.remaining()];
    bytes.get(array);
    (error ? err : out).writeBytes(array);
    return true;
  }

  @Override
  public void onWritable() {
    writable.release();
  }

  @Override
  public void onExit(ExitStatus status) {
    exit.complete(status);
  }

  @Override
  public void onStartFailed(StartFailure reason, String message) {
    startFailure.complete(reason);
  }

  @Override
  public void onFailure(AgentException cause) {
    failure.complete(cause);
    exit.completeExceptionally(cause);
  }

  String stdout() {
    return out.toString(StandardCharsets.UTF_8);
  }

  String stderr() {
    return err.toString(StandardCharsets.UTF_8);
  }
}
