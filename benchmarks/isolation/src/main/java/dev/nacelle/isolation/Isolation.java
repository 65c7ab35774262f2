// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.image.ImageRef;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.Optional;

/**
 * One way to run a command of an image apart from the rest of a machine. Safe for use from several
 * threads, but for {@link #close}, which comes last.
 */
public interface Isolation extends AutoCloseable {
  /**
   * A short name that is not any other's, as "runc": what a user calls it, and what results say.
   */
  String name();

  /** What a reader is told, as "container (runc)". */
  String label();

  /** The version of what does it, as "runc 1.1.5"; asked for only where it is available. */
  String version();

  /** Why it cannot be had on this machine, and what would help; empty where it can. */
  default Optional<String> unavailable() {
    return Optional.empty();
  }

  /** Whether it is measured where nobody says which isolations are. */
  default boolean isUsual() {
    return true;
  }

  /**
   * Fetches what a start of this image would fetch. What only a start can find out may be left to
   * it: this machine need not be the one where instances are started.
   *
   * @throws IOException when something cannot be had
   */
  default void prepare(ImageRef image) throws IOException {}

  /**
   * Makes an instance that is ready to run commands and has none yet.
   *
   * @throws IOException when there is none then; nothing of it is left
   */
  Instance start(Workload workload) throws IOException;

  /**
   * Makes an instance for one command, the shortest way there is. Closing what is returned takes
   * the instance, too.
   *
   * @throws IOException when it does not run then; nothing of it is left
   */
  default Running launch(Workload workload, List<String> command) throws IOException {
    Instance instance = start(workload);
    try {
      Running running = instance.start(command);
      return new Running() {
        @Override
        public InputStream stdout() {
          return running.stdout();
        }

        @Override
        public int waitFor() throws IOException {
          return running.waitFor();
        }

        @Override
        public String stderr() {
          return running.stderr();
        }

        @Override
        public void kill() throws IOException {
          running.kill();
        }

        @Override
        public void close() throws IOException {
          try (instance) {
            running.close();
          }
        }
      };
    } catch (IOException | RuntimeException e) {
      try (instance) {
        throw e;
      }
    }
  }

  /**
   * Whether this process has a part in each instance, as its monitor or a connection to it: what
   * this process takes of memory then counts as the instances'.
   */
  default boolean hasPartInThisProcess() {
    return true;
  }

  /** Ends what its instances shared; they are closed by then. */
  @Override
  default void close() {}
}
