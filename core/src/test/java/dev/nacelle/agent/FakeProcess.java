// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.protobuf.ByteString;
import dev.nacelle.proto.agent.v1.Created;
import dev.nacelle.proto.agent.v1.Exited;
import dev.nacelle.proto.agent.v1.ProcessSpec;
import dev.nacelle.proto.agent.v1.RunProcessRequest;
import dev.nacelle.proto.agent.v1.RunProcessResponse;
import dev.nacelle.proto.agent.v1.StartFailed;
import dev.nacelle.proto.agent.v1.Started;
import dev.nacelle.proto.agent.v1.WindowSize;
import io.grpc.StatusException;
import io.grpc.stub.ServerCallStreamObserver;
import java.nio.charset.StandardCharsets;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/** A process of the fake guest: a thread that reads and writes as a process would, blocking. */
public final class FakeProcess {
  private static final ByteString END_OF_STDIN = ByteString.copyFromUtf8("end");
  private static final int OUTPUT_CHUNK = 64 * 1024;

  private final long id;
  private final ProcessSpec spec;
  private final boolean there;
  private final ServerCallStreamObserver<RunProcessResponse> responses;
  private final BlockingQueue<ByteString> stdin = new LinkedBlockingQueue<>();
  private final BlockingQueue<Integer> signals = new LinkedBlockingQueue<>();
  private final BlockingQueue<WindowSize> sizes = new LinkedBlockingQueue<>();
  private final AtomicReference<@Nullable Exited> killed = new AtomicReference<>();
  private final AtomicLong written = new AtomicLong();
  private final Object ready = new Object();
  private final CompletableFuture<Void> blocked = new CompletableFuture<>();
  private final CompletableFuture<Void> told = new CompletableFuture<>();
  private final Thread thread;
  private final Runnable onEnd;

  /** Whether it waits to be released; guarded by this. */
  private boolean held;

  /**
   * @param program null for one that is not there, as one that is held finds out when it is
   *     released
   */
  FakeProcess(
      long id,
      ProcessSpec spec,
      @Nullable FakeProgram program,
      ServerCallStreamObserver<RunProcessResponse> responses,
      Runnable onEnd) {
    this.id = id;
    this.spec = spec;
    there = program != null;
    this.responses = responses;
    this.onEnd = onEnd;
    this.thread = new Thread(() -> live(program), "fake-process-" + id);
    thread.setDaemon(true);
  }

  synchronized void hold() {
    held = true;
    responses.onNext(
        RunProcessResponse.newBuilder()
            .setCreated(Created.newBuilder().setProcessId(id).setPid((int) id + 1))
            .build());
  }

  private synchronized boolean letGo() {
    boolean was = held;
    held = false;
    return was;
  }

  void start() {
    responses.onNext(
        RunProcessResponse.newBuilder()
            .setStarted(Started.newBuilder().setProcessId(id).setPid((int) id + 1))
            .build());
    thread.start();
  }

  private void live(@Nullable FakeProgram program) {
    Exited exited;
    try {
      int code = Objects.requireNonNull(program).run(this);
      exited = Exited.newBuilder().setExitCode(code).build();
    } catch (InterruptedException e) {
      Exited how = killed.get();
      exited = how == null ? Exited.newBuilder().setSignal(9).build() : how;
    } catch (StatusException e) {
      onEnd.run();
      responses.onError(e);
      return;
    } catch (Exception e) {
      exited = Exited.newBuilder().setSignal(6).build();
    }
    // Before the host learns of it: from then on the process is not to be found.
    onEnd.run();
    // Of a call that the host has cancelled nothing can be told any more.
    if (!responses.isCancelled()) {
      try {
        responses.onNext(RunProcessResponse.newBuilder().setExited(exited).build());
        responses.onCompleted();
        told.complete(null);
      } catch (RuntimeException e) {
        // Cancelled meanwhile.
      }
    }
  }

  void onRequest(RunProcessRequest request) {
    switch (request.getRequestCase()) {
      case RELEASE -> release();
      case STDIN -> stdin.add(request.getStdin());
      case CLOSE_STDIN -> endOfStdin();
      default -> throw new IllegalStateException("unexpected " + request.getRequestCase());
    }
  }

  private void release() {
    if (!letGo()) {
      throw new IllegalStateException("released, and not held");
    }
    if (there) {
      start();
      responses.request(1);
      return;
    }
    onEnd.run();
    responses.onNext(
        RunProcessResponse.newBuilder()
            .setStartFailed(
                StartFailed.newBuilder()
                    .setReason(StartFailed.Reason.COMMAND_NOT_FOUND)
                    .setMessage(spec.getArguments(0) + ": not found"))
            .build());
    responses.onCompleted();
  }

  void endOfStdin() {
    stdin.add(END_OF_STDIN);
  }

  void onReady() {
    synchronized (ready) {
      ready.notifyAll();
    }
  }

  void kill(Exited how) {
    if (letGo()) {
      onEnd.run();
      if (!responses.isCancelled()) {
        responses.onNext(RunProcessResponse.newBuilder().setExited(how).build());
        responses.onCompleted();
      }
      return;
    }
    killed.compareAndSet(null, how);
    thread.interrupt();
  }

  void signal(int number) {
    signals.add(number);
  }

  void resize(WindowSize size) {
    sizes.add(size);
  }

  /** What the host asked for. */
  public ProcessSpec spec() {
    return spec;
  }

  /** How many bytes of output it has sent so far. */
  public long written() {
    return written.get();
  }

  /** Completes when it first had to wait for the host to read. */
  public CompletableFuture<Void> blocked() {
    return blocked;
  }

  /** Completes when its end has been sent to the host. */
  public CompletableFuture<Void> told() {
    return told;
  }

  /** The next chunk of stdin; null at its end. */
  public byte @Nullable [] read() throws InterruptedException {
    if (!spec.getStdin()) {
      return null;
    }
    ByteString chunk = stdin.take();
    // By identity: the host may well send the same bytes.
    if (chunk == END_OF_STDIN) {
      return null;
    }
    responses.request(1);
    return chunk.toByteArray();
  }

  /** The next signal that is sent to it. */
  public int awaitSignal() throws InterruptedException {
    return signals.take();
  }

  /** The next size that its terminal gets. */
  public WindowSize awaitResize() throws InterruptedException {
    return sizes.take();
  }

  /** Writes to stdout; blocks while the host does not read. */
  public void print(String text) throws InterruptedException {
    write(false, text.getBytes(StandardCharsets.UTF_8));
  }

  /** Writes; blocks while the host does not read what it asked for. */
  public void write(boolean toStderr, byte[] bytes) throws InterruptedException {
    boolean error = toStderr && !spec.getMergeStderr();
    if (error ? spec.getDiscardStderr() : spec.getDiscardStdout()) {
      return;
    }
    for (int at = 0; at < bytes.length; at += OUTPUT_CHUNK) {
      ByteString chunk = ByteString.copyFrom(bytes, at, Math.min(OUTPUT_CHUNK, bytes.length - at));
      RunProcessResponse.Builder response = RunProcessResponse.newBuilder();
      send((error ? response.setStderr(chunk) : response.setStdout(chunk)).build());
      written.addAndGet(chunk.size());
    }
  }

  /** Sends any message, proper or not; blocks while the host does not read. */
  public void send(RunProcessResponse response) throws InterruptedException {
    synchronized (ready) {
      while (!responses.isReady()) {
        if (responses.isCancelled()) {
          throw new InterruptedException("the host cancelled");
        }
        blocked.complete(null);
        ready.wait();
      }
    }
    responses.onNext(response);
  }
}
