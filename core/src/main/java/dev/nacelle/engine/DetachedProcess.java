// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import dev.nacelle.GuestProcess;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Signal;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.ProcessRequest;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A process that runs whether somebody holds it or not. The end of each output is kept, and given
 * to who attaches; the process waits for a reader only while there is one. Its call lasts as long
 * as it does, so the guest needs to know nothing of this.
 */
final class DetachedProcess extends ProcessCall {
  private final GuestCalls calls;
  private final AgentClient client;
  private final Signal stopSignal;

  private final RecentOutput recentStdout = new RecentOutput(); // guarded by this
  private final RecentOutput recentStderr = new RecentOutput(); // guarded by this
  private @Nullable Attachment attached; // guarded by this
  private boolean over; // guarded by this
  private @Nullable Supplier<GuestIOException> failure; // guarded by this

  DetachedProcess(
      GuestCalls calls,
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      Signal stopSignal,
      @Nullable Duration deadline) {
    super(calls, client, spec, request, streamLimit(spec), deadline);
    this.calls = calls;
    this.client = client;
    this.stopSignal = stopSignal;
  }

  /** Takes it over from who is attached. */
  GuestProcess attach() {
    OutputPipes outputs = new OutputPipes(this::goOn);
    Attachment next = new Attachment(outputs);
    Attachment before;
    synchronized (this) {
      before = attached;
      recentStdout.ifPresent(bytes -> outputs.add(false, bytes, false));
      recentStderr.ifPresent(bytes -> outputs.add(true, bytes, false));
      if (over) {
        outputs.end(failure);
      } else {
        attached = next;
      }
    }
    if (before != null) {
      before.outputs.end(() -> new GuestIOException("somebody else has attached to the process"));
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

  @Override
  void take(boolean error, ByteBuffer bytes) {
    (error ? recentStderr : recentStdout).add(bytes);
    if (attached != null) {
      attached.outputs.add(error, bytes, killed());
    }
  }

  @Override
  boolean isFull() {
    return attached != null && !killed() && attached.outputs.isFull();
  }

  @Override
  void onEnd(@Nullable Supplier<GuestIOException> why) {
    Attachment last;
    synchronized (this) {
      over = true;
      failure = why;
      last = attached;
      attached = null;
    }
    if (last != null) {
      last.outputs.end(why);
    }
  }

  /** The process in the hands of one who attached to it. */
  private final class Attachment extends ProcessInHand {
    final OutputPipes outputs;

    Attachment(OutputPipes outputs) {
      super(calls, client, DetachedProcess.this, outputs, stopSignal);
      this.outputs = outputs;
    }

    @Override
    public void close() {
      closeOutputs();
      detach(this);
    }
  }
}
