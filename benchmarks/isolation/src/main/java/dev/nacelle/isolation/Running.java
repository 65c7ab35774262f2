// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.io.InputStream;

/** A command that was started in an instance. One thread at a time. */
public interface Running extends AutoCloseable {
  /** What it writes, as it comes, and its end; the same stream each time. */
  InputStream stdout();

  /** Waits for its end: its exit code, 128 + n where signal n ended it. */
  int waitFor() throws IOException;

  /** The last that it wrote to stderr, for messages, once it has ended; empty where not known. */
  String stderr();

  /**
   * Ends it at once, and what keeps its output open, so that whoever reads or waits goes on. From
   * any thread. What it ran in may be of no use afterwards.
   */
  void kill() throws IOException;

  /** Ends it where it still runs. */
  @Override
  void close() throws IOException;
}
