// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.agent.AgentProcess;
import java.nio.ByteBuffer;

/**
 * Gives a process bytes that are there already, as fast as it takes them and without a thread.
 * Confined to the process's event loop.
 */
final class StdinFeed {
  private final ByteBuffer content;
  private boolean done;

  StdinFeed(ByteBuffer content) {
    this.content = content;
  }

  void pump(AgentProcess process) {
    while (!done && process.isWritable()) {
      if (!content.hasRemaining()) {
        done = true;
        process.closeStdin();
        return;
      }
      int length = Math.min(content.remaining(), AgentProcess.STDIN_CHUNK);
      done = !process.write(content.slice(content.position(), length));
      content.position(content.position() + length);
    }
  }
}
