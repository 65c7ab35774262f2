// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Signal;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.ProcessRequest;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** A process whose outputs are streamed to who holds it, and that ends when he lets go of it. */
final class RunningProcess extends ProcessInHand {
  RunningProcess(
      GuestCalls calls,
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      Signal stopSignal,
      @Nullable Duration deadline) {
    this(calls, client, new Call(calls, client, spec, request, deadline), stopSignal);
  }

  private RunningProcess(GuestCalls calls, AgentClient client, Call call, Signal stopSignal) {
    super(calls, client, call, call.outputs, stopSignal);
  }

  private static final class Call extends ProcessCall {
    final OutputPipes outputs = new OutputPipes(this::goOn);

    Call(
        GuestCalls calls,
        AgentClient client,
        ProcessSpec spec,
        ProcessRequest request,
        @Nullable Duration deadline) {
      super(calls, client, spec, request, streamLimit(spec), deadline);
    }

    @Override
    void take(boolean error, ByteBuffer bytes) {
      outputs.add(error, bytes, killed());
    }

    @Override
    boolean isFull() {
      return !killed() && outputs.isFull();
    }

    @Override
    void onEnd(@Nullable Supplier<GuestIOException> why) {
      outputs.end(why);
    }
  }

  @Override
  public void close() {
    // First: that there is room again, or no more input, must not reach the process.
    if (isAlive()) {
      call().kill();
    }
    call().abandonStdin();
    closeOutputs();
  }
}
