// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** What an image runs in: a container, a machine. Safe for use from several threads. */
public interface Instance extends AutoCloseable {
  /**
   * Starts a command in it, with the workload's environment, user and directory and nothing to
   * read; its stderr goes where it disturbs nobody.
   *
   * @param command a program, by a path or by a name that PATH finds, and its arguments
   * @throws IOException when it does not start
   */
  Running start(List<String> command) throws IOException;

  /** How long a command that is run may take. */
  default Duration patience() {
    return Setting.PATIENCE;
  }

  /**
   * Runs a command to its end, which is when it has ended and its output is closed.
   *
   * @throws IOException when it does not start, takes longer than {@link #patience}, writes more
   *     than 16 MiB, or what it writes cannot be read
   */
  default Output run(List<String> command) throws IOException {
    try (Running running = start(command)) {
      return Patience.finish(running, command, patience());
    }
  }

  /**
   * Puts a program into it from outside, executable by all.
   *
   * @param program a file of this machine
   * @param path where, absolute, in a directory that is there
   */
  void put(Path program, String path) throws IOException;

  /**
   * The processes of the host that it consists of, by their IDs; those that this process has
   * started, and they, need not be among them.
   */
  Set<Long> processes() throws IOException;

  /** Whether a process of the benchmark's that does nothing is in it from its start on. */
  default boolean hasIdleProcess() {
    return false;
  }

  /** The workload's service, as "ADDRESS:PORT" for its commands; empty where it has no network. */
  default Optional<String> service() {
    return Optional.empty();
  }

  /** Ends all that runs in it, and leaves nothing behind. */
  @Override
  void close() throws IOException;
}
