// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import dev.nacelle.ProcessException;
import dev.nacelle.Stdin;
import dev.nacelle.agent.AgentProcess;
import dev.nacelle.internal.LibraryThread;
import java.io.IOException;
import java.io.InputStream;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Gives a process what its specification says that it reads: bytes that are there without a thread,
 * and what has to be read first by a thread of its own, for nobody knows how long a read takes. All
 * but that thread is confined to the process's event loop.
 */
final class StdinSource {
  private final AgentProcess process;
  private final Stdin source;
  private final Consumer<ProcessException> onFailure;
  private final @Nullable StdinFeed feed;
  private final StdinPipe pipe;
  private @Nullable Thread reader;

  /**
   * @param onFailure called once on another thread when the source cannot be read
   */
  StdinSource(AgentProcess process, Stdin source, Consumer<ProcessException> onFailure) {
    this.process = process;
    this.source = source;
    this.onFailure = onFailure;
    feed = source.bytes().map(StdinFeed::new).orElse(null);
    pipe = new StdinPipe(process, false);
  }

  void onStarted() {
    if (feed == null) {
      Thread thread = new LibraryThread(this::copy, "nacelle-stdin-" + process.id());
      reader = thread;
      thread.start();
    } else {
      feed.pump(process);
    }
  }

  void onWritable() {
    if (feed == null) {
      pipe.onWritable();
    } else {
      feed.pump(process);
    }
  }

  /** The process has ended. */
  void end() {
    pipe.end(null);
    Thread thread = reader;
    if (thread != null) {
      thread.interrupt();
    }
  }

  private void copy() {
    try (InputStream input = source.open()) {
      byte[] chunk = new byte[AgentProcess.STDIN_CHUNK];
      for (int count = input.read(chunk); count >= 0; count = input.read(chunk)) {
        pipe.write(chunk, 0, count);
      }
      pipe.close();
    } catch (GuestIOException e) {
      // It has ended, or reads no more: what it was to read does not matter.
    } catch (IOException | RuntimeException e) {
      if (!pipe.hasEnded()) {
        onFailure.accept(
            new ProcessException(
                ProcessException.Reason.STDIN_FAILED,
                "What the process was to read from stdin, " + source + ", cannot be read: " + e,
                null,
                e));
      }
    }
  }
}
