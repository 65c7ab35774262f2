// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.OnLimit;
import dev.nacelle.ProcessSpec;
import dev.nacelle.StandardStream;
import java.nio.ByteBuffer;

/**
 * What of a process's output is let through: which output it counts as, and how much of it. The
 * guest merges and drops; here that is done to what a shell would say, and held against a guest
 * that does not. Confined to the process's event loop, but for {@link #truncated}.
 */
final class OutputGate {
  private final boolean merge;
  private final boolean discardStdout;
  private final boolean discardStderr;
  private final boolean kill;
  private long stdoutRoom;
  private long stderrRoom;
  private volatile boolean stdoutTruncated;
  private volatile boolean stderrTruncated;

  /**
   * @param limit of each output, in bytes
   */
  OutputGate(ProcessSpec spec, long limit) {
    merge = spec.mergeStderr();
    discardStdout = spec.discarded().contains(StandardStream.STDOUT);
    discardStderr = spec.discarded().contains(StandardStream.STDERR);
    kill = spec.onLimit() == OnLimit.KILL;
    stdoutRoom = limit;
    stderrRoom = limit;
  }

  /** Whether what came from that output counts as stderr's. */
  boolean isError(boolean error) {
    return error && !merge;
  }

  /**
   * Cuts off what is not wanted.
   *
   * @param error as {@link #isError} says
   * @param bytes whose limit is moved
   * @return whether the process is to be killed, which is said once for each output
   */
  boolean cut(boolean error, ByteBuffer bytes) {
    if (error ? discardStderr : discardStdout) {
      bytes.limit(bytes.position());
      return false;
    }
    long room = error ? stderrRoom : stdoutRoom;
    int wanted = bytes.remaining();
    if (wanted <= room) {
      if (error) {
        stderrRoom -= wanted;
      } else {
        stdoutRoom -= wanted;
      }
      return false;
    }
    bytes.limit(bytes.position() + (int) room);
    boolean first = !truncated(error);
    if (error) {
      stderrRoom = 0;
      stderrTruncated = true;
    } else {
      stdoutRoom = 0;
      stdoutTruncated = true;
    }
    return first && kill;
  }

  /** Whether something of that output was beyond its limit. */
  boolean truncated(boolean error) {
    return error ? stderrTruncated : stdoutTruncated;
  }

  /** Whether something of any output was beyond its limit. */
  boolean truncated() {
    return stdoutTruncated || stderrTruncated;
  }
}
