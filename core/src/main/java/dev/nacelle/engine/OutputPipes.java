// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import java.nio.ByteBuffer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Both outputs of a process for one who reads them. */
final class OutputPipes {
  private final OutputPipe stdout;
  private final OutputPipe stderr;

  /**
   * @param onRoom as {@link OutputPipe} takes it
   */
  OutputPipes(Runnable onRoom) {
    stdout = new OutputPipe(onRoom);
    stderr = new OutputPipe(onRoom);
  }

  OutputPipe get(boolean error) {
    return error ? stderr : stdout;
  }

  /**
   * Adds what was written.
   *
   * @param drop whether what there is no room for is dropped
   */
  void add(boolean error, ByteBuffer bytes, boolean drop) {
    OutputPipe pipe = get(error);
    if (!drop || !pipe.isFull()) {
      pipe.add(bytes);
    }
  }

  /** Whether there is no room in one of them. */
  boolean isFull() {
    return stdout.isFull() || stderr.isFull();
  }

  /** As {@link OutputPipe#end}. */
  void end(@Nullable Supplier<GuestIOException> why) {
    stdout.end(why);
    stderr.end(why);
  }

  void close() {
    stdout.close();
    stderr.close();
  }
}
