// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestIOException;
import dev.nacelle.Output;
import dev.nacelle.ProcessSpec;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.ProcessRequest;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** A process whose outputs are kept, up to a limit, until it ends. */
final class ExecCapture extends ExecCall {
  private static final DataSize MOST = DataSize.gibibytes(1);

  private final long start = System.nanoTime();
  private final Kept stdout = new Kept();
  private final Kept stderr = new Kept();
  private long nanos;

  private static final class Kept extends ByteArrayOutputStream {
    void add(ByteBuffer bytes) {
      byte[] part = new byte[bytes.remaining()];
      bytes.get(part);
      writeBytes(part);
    }

    ByteBuffer view() {
      return ByteBuffer.wrap(buf, 0, count);
    }
  }

  /**
   * @throws IllegalArgumentException when the limit is more than can be kept
   */
  ExecCapture(
      GuestCalls calls,
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      @Nullable Duration deadline) {
    super(calls, client, spec, request, limit(spec).bytes(), deadline);
  }

  private static DataSize limit(ProcessSpec spec) {
    DataSize limit = spec.outputLimit().orElse(ProcessSpec.DEFAULT_OUTPUT_LIMIT);
    if (limit.compareTo(MOST) > 0) {
      throw new IllegalArgumentException(
          "at most 1GiB of output is kept in memory, not " + limit + "; stream it instead");
    }
    return limit;
  }

  /** What came of it, after it has ended. Copies the outputs: not for an event loop. */
  ExecResult result(ExitStatus status) {
    return ExecResult.of(
        status,
        Output.of(stdout.view(), truncated(false)),
        Output.of(stderr.view(), truncated(true)),
        Duration.ofNanos(nanos));
  }

  @Override
  void take(boolean error, ByteBuffer bytes) {
    (error ? stderr : stdout).add(bytes);
  }

  @Override
  boolean isFull() {
    return false;
  }

  @Override
  void onEnd(@Nullable Supplier<GuestIOException> why) {
    nanos = System.nanoTime() - start;
  }
}
