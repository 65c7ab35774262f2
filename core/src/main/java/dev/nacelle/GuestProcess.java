// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.io.InputStream;
import java.io.OutputStream;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * A process in a sandbox, with its streams. Made by {@link Sandbox#start}; not meant to be
 * implemented by others. Safe for use from several threads; each stream by one at a time.
 *
 * <p>Both outputs have to be read, as with a pipe: a process that has written much to one of them
 * that nobody reads blocks, and so does whoever waits for the other output or for its end. What is
 * held for a reader is 256 KiB of heap for each output, which small pieces fill with less.
 */
public interface GuestProcess extends AutoCloseable {
  /** Its process ID, as the sandbox's processes see it. */
  long pid();

  /**
   * What is written here, the process reads from stdin. A write blocks while too much of it is
   * underway; nothing is held back, so flushing does nothing. Closing ends the process's stdin.
   * Once the process has ended, writing throws a {@link GuestIOException}. Closed already when
   * {@link ProcessSpec#stdin()} said what it reads.
   */
  OutputStream stdin();

  /**
   * What the process writes to stdout, or to its terminal. Ends when the process has ended and all
   * was read. When the sandbox ends first, reading throws a {@link GuestIOException} whose cause is
   * the {@link SandboxEndedException}, and so does writing to {@link #stdin()}. Closing it drops
   * what is still to come. {@link ProcessSpec#outputLimit()} holds here, too, where it was given.
   */
  InputStream stdout();

  /** What the process writes to stderr; as {@link #stdout()}. Empty with a terminal. */
  InputStream stderr();

  /**
   * Completes when the process has ended and its outputs have arrived here, on a thread of {@link
   * Nacelle}'s, where dependents may block. Completes exceptionally with {@link
   * SandboxEndedException} or {@link ProcessException} when its end was not learnt.
   */
  CompletableFuture<ExitStatus> onExit();

  /**
   * Waits for its end.
   *
   * @throws SandboxEndedException when the sandbox ended first
   * @throws ProcessException when its end was not learnt
   * @throws InterruptedOperationException when the thread is interrupted; the process goes on
   */
  ExitStatus waitFor();

  /**
   * Waits for its end, but not for longer.
   *
   * @return nothing when the time is up; the process goes on
   * @throws SandboxEndedException when the sandbox ended first
   * @throws ProcessException when its end was not learnt
   * @throws InterruptedOperationException when the thread is interrupted; the process goes on
   */
  Optional<ExitStatus> waitFor(Duration timeout);

  /** Whether its end is not known yet. */
  boolean isAlive();

  /**
   * Sends it a signal; nothing happens when it has ended.
   *
   * @throws SandboxEndedException when the sandbox has ended
   * @throws ProcessException when the guest does not answer within five seconds
   */
  default void signal(Signal signal) {
    signal(signal, SignalScope.PROCESS);
  }

  /**
   * Sends a signal to it or to what it started; nothing happens when nobody of those is left. What
   * it left behind is reached by {@link SignalScope#TREE} also after its end.
   *
   * @throws SandboxEndedException when the sandbox has ended
   * @throws ProcessException when the guest does not answer within five seconds
   */
  void signal(Signal signal, SignalScope scope);

  /**
   * Stops it as container engines do: sends it its {@linkplain ProcessSpec.Builder#stopSignal stop
   * signal}, and kills it, with everything it started, when it has not ended after the grace, or
   * when the guest does not take the signal. What it wrote and nobody has read is kept up to 256
   * KiB for each output once it is killed, and dropped beyond.
   *
   * @param grace how long it has; zero kills it at once
   * @return how it ended, as the guest told it when it was dead; a guest that does not is given up
   *     after 20 seconds, and the status is a SIGKILL's
   * @throws SandboxEndedException when the sandbox ended first
   * @throws ProcessException when its end was not learnt
   * @throws InterruptedOperationException when the thread is interrupted; the process, which has
   *     got its signal, goes on
   */
  ExitStatus stop(Duration grace);

  /**
   * Tells its terminal a new size.
   *
   * @throws IllegalStateException when it has no terminal
   * @throws SandboxEndedException when the sandbox has ended
   * @throws ProcessException when the guest does not answer within five seconds
   */
  void resize(TerminalSize size);

  /**
   * The same process, for code that takes the JDK's. Its process ID is the sandbox's, so there is
   * no {@link Process#toHandle()}, and nothing that needs one. An exit code by a signal is 128 and
   * its number. {@link Process#destroy()} sends SIGTERM and {@link Process#destroyForcibly()}
   * SIGKILL, to the process alone; {@link #close()} is still to be called. Waiting throws {@link
   * SandboxEndedException} and {@link ProcessException} as {@link #waitFor()} does.
   */
  default Process toProcess() {
    return new ProcessView(this);
  }

  /**
   * Kills it with everything it started, unless it has ended, and drops its output. Where it was
   * {@linkplain Sandbox#attach attached to}, it is let go of instead, and runs on. {@link
   * #onExit()} tells how it ended. Idempotent; does not wait.
   */
  @Override
  void close();
}
