// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataSize;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestProcess;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Signal;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.AgentProcess;
import dev.nacelle.agent.ProcessListener;
import dev.nacelle.agent.ProcessRequest;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * A process that runs whether somebody holds it or not. The end of each output is kept, and given
 * to who attaches; the process waits for a reader only while there is one. Its call lasts as long
 * as it does, so the guest needs to know nothing of this.
 */
final class DetachedProcess implements ProcessListener {
  private final GuestCalls calls;
  private final AgentClient client;
  private final AgentProcess process;
  private final boolean terminal;
  private final Signal stopSignal;
  private final OutputGate gate;
  private final @Nullable StdinSource source;
  private final StdinPipe stdin;
  private final CompletableFuture<Long> started = new CompletableFuture<>();
  private final CompletableFuture<ExitStatus> ended = new CompletableFuture<>();

  private final RecentOutput recentStdout = new RecentOutput(); // guarded by this
  private final RecentOutput recentStderr = new RecentOutput(); // guarded by this
  private @Nullable Attachment attached; // guarded by this
  private boolean paused; // guarded by this
  private boolean over; // guarded by this
  private @Nullable String failure; // guarded by this

  /** Whether it is killed, and its output waits for nobody. */
  private volatile boolean killed;

  DetachedProcess(
      GuestCalls calls,
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      Signal stopSignal,
      @Nullable Duration deadline) {
    this.calls = calls;
    this.client = client;
    this.stopSignal = stopSignal;
    terminal = spec.terminal().isPresent();
    gate = new OutputGate(spec, spec.outputLimit().map(DataSize::bytes).orElse(Long.MAX_VALUE));
    process = client.process(request, this, deadline);
    source =
        spec.stdin()
            .map(given -> new StdinSource(process, given, this::onStdinFailure))
            .orElse(null);
    stdin = new StdinPipe(process, source != null);
  }

  /**
   * Starts it; once.
   *
   * @return completes when it runs; fails as {@link #ended} does
   */
  CompletableFuture<Long> start() {
    process.start();
    return started;
  }

  /** Completes with its end, or fails, also when it did not start; on an event loop. */
  CompletableFuture<ExitStatus> ended() {
    return ended;
  }

  /** The agent's name for it. */
  long id() {
    return process.id();
  }

  /** Takes it over from who is attached. */
  GuestProcess attach() {
    Attachment next = new Attachment();
    Attachment before;
    synchronized (this) {
      before = attached;
      recentStdout.ifPresent(next.stdout::add);
      recentStderr.ifPresent(next.stderr::add);
      if (over) {
        next.end(failure);
      } else {
        attached = next;
      }
    }
    if (before != null) {
      before.end("somebody else has attached to the process");
    }
    goOn();
    return next;
  }

  private void detach(Attachment from) {
    synchronized (this) {
      if (attached == from) {
        attached = null;
      }
    }
    goOn();
  }

  void kill() {
    killed = true;
    var unused = client.kill(process).thenRun(this::goOn);
  }

  /** Asks for more, where that waits for a reader that has made room, or is no more. */
  private void goOn() {
    synchronized (this) {
      if (!paused || mustWait()) {
        return;
      }
      paused = false;
    }
    process.resume();
  }

  private synchronized boolean mustWait() {
    return attached != null && !killed && (attached.stdout.isFull() || attached.stderr.isFull());
  }

  @Override
  public void onStarted(long pid) {
    if (source != null) {
      source.onStarted();
    }
    started.complete(pid);
  }

  private void onStdinFailure(ProcessException failed) {
    fail(failed, failed.getMessage());
    process.cancel();
  }

  @Override
  public synchronized boolean onOutput(boolean error, ByteBuffer bytes) {
    boolean counted = gate.isError(error);
    if (gate.cut(counted, bytes)) {
      kill();
    }
    if (bytes.hasRemaining()) {
      (counted ? recentStderr : recentStdout).add(bytes);
      if (attached != null) {
        OutputPipe pipe = counted ? attached.stderr : attached.stdout;
        if (!killed || !pipe.isFull()) {
          pipe.add(bytes);
        }
      }
    }
    paused = mustWait();
    return !paused;
  }

  @Override
  public void onWritable() {
    if (source != null) {
      source.onWritable();
    }
    stdin.onWritable();
  }

  @Override
  public void onExit(ExitStatus status) {
    end(null);
    ended.complete(limited(status));
  }

  @Override
  public void onStartFailed(StartFailure reason, String message) {
    fail(GuestCalls.notStarted(reason, message), message);
  }

  @Override
  public void onFailure(AgentException failed) {
    if (killed && failed.kind() == AgentException.Kind.CANCELLED) {
      // The guest killed it, or will when it hears of it; that is all that is known.
      end("the process was killed");
      ended.complete(limited(ExitStatus.of(Signal.KILL)));
      started.completeExceptionally(failed);
    } else {
      fail(failed, "the sandbox has ended, or lost the process: " + failed.getMessage());
    }
  }

  private ExitStatus limited(ExitStatus status) {
    return gate.truncated() ? status.toBuilder().outputTruncated(true).build() : status;
  }

  private void fail(Exception failed, @Nullable String why) {
    end(why);
    started.completeExceptionally(failed);
    ended.completeExceptionally(failed);
  }

  private void end(@Nullable String why) {
    Attachment last;
    synchronized (this) {
      over = true;
      failure = why;
      last = attached;
      attached = null;
    }
    if (last != null) {
      last.end(why);
    }
    stdin.end();
    if (source != null) {
      source.end();
    }
  }

  /** The process in the hands of one who attached to it. */
  private final class Attachment extends ProcessInHand {
    final OutputPipe stdout = new OutputPipe(DetachedProcess.this::goOn);
    final OutputPipe stderr = new OutputPipe(DetachedProcess.this::goOn);

    Attachment() {
      super(calls, client, terminal, stopSignal);
    }

    void end(@Nullable String why) {
      stdout.end(why);
      stderr.end(why);
    }

    @Override
    long id() {
      return DetachedProcess.this.id();
    }

    @Override
    CompletableFuture<Long> started() {
      return started;
    }

    @Override
    CompletableFuture<ExitStatus> ended() {
      return ended;
    }

    @Override
    void kill() {
      DetachedProcess.this.kill();
    }

    @Override
    public OutputStream stdin() {
      return stdin;
    }

    @Override
    public InputStream stdout() {
      return stdout;
    }

    @Override
    public InputStream stderr() {
      return stderr;
    }

    @Override
    public void close() {
      stdout.close();
      stderr.close();
      detach(this);
    }
  }
}
