// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/**
 * A virtual machine with an image's root filesystem in it, ready to run processes. Made by {@link
 * Nacelle#start}; not meant to be implemented by others. Safe for use from several threads.
 *
 * <p>It ends when it is closed or killed, when its {@linkplain SandboxSpec#maxLifetime() lifetime}
 * or its {@linkplain SandboxSpec#idleTimeout() time to be idle} is over, when its guest dies, or
 * with its {@link Nacelle}. Every call that waits for its guest then throws {@link
 * SandboxEndedException}, which says which of those it was, as {@link #onExit()} does, and so does
 * what is called after that. Streams throw a {@link GuestIOException} with that as its cause.
 */
public interface Sandbox extends AutoCloseable {
  /**
   * Runs a command to its end, with nothing to read from stdin. Waits as long as it takes: give
   * {@linkplain ProcessSpec.Builder#timeout a deadline} to what may hang.
   *
   * @param command the executable, looked up in PATH when it holds no slash, and its arguments
   * @throws SandboxEndedException when the sandbox ends first
   * @throws InterruptedOperationException when the thread is interrupted; the process is killed
   */
  default ExecResult exec(String... command) {
    return exec(ProcessSpec.of(command));
  }

  /** As {@link #exec(String...)}. */
  default ExecResult exec(List<String> command) {
    return exec(ProcessSpec.of(command));
  }

  /**
   * Runs a process to its end. It reads what {@link ProcessSpec#stdin()} says, and nothing when
   * that says nothing. Of each output {@link ProcessSpec#outputLimit()} is kept.
   *
   * @throws IllegalArgumentException when that is more than 1 GiB
   * @throws ProcessException when it could not be started for another reason than its command (exit
   *     codes 126 and 127), or nothing is known of its end
   * @throws SandboxEndedException when the sandbox ends first
   * @throws InterruptedOperationException when the thread is interrupted; the process is killed
   */
  ExecResult exec(ProcessSpec process);

  /**
   * Runs a process to its end, and hands out what it writes as it comes: on this thread, one piece
   * after another, those of both outputs in the order of their arrival. While the consumer takes
   * its time, at most 256 KiB and a piece wait for it, and then the process blocks where it writes.
   *
   * <p>What the consumer throws is thrown by this method, as it is, and the process is killed with
   * all that it started, without being waited for. So an IOException comes from the consumer; what
   * is wrong with the process is told by unchecked exceptions alone.
   *
   * @param <X> what the consumer throws
   * @return how it ended; as with {@link #exec(ProcessSpec)}, a command that is not there is exit
   *     code 127, with a message for the consumer
   * @throws X what the consumer has thrown
   * @throws ProcessException when it could not be started for another reason than its command,
   *     nothing is known of its end, or its {@linkplain
   *     ProcessSpec.Builder#stdin(java.io.InputStream) stdin} could not be read
   * @throws SandboxEndedException when the sandbox ends first, after all that had arrived
   * @throws InterruptedOperationException when the thread is interrupted; the process is killed
   */
  <X extends Exception> ExitStatus exec(ProcessSpec process, OutputConsumer<X> consumer) throws X;

  /** As {@link #execAsync(ProcessSpec)}, of a command. */
  default CompletableFuture<ExecResult> execAsync(String... command) {
    return execAsync(ProcessSpec.of(command));
  }

  /** As {@link #execAsync(ProcessSpec)}, of a command. */
  default CompletableFuture<ExecResult> execAsync(List<String> command) {
    return execAsync(ProcessSpec.of(command));
  }

  /**
   * As {@link #exec(ProcessSpec)}, without waiting. Cancelling the future kills the process, and so
   * does completing it in any other way, as {@link CompletableFuture#orTimeout} does.
   *
   * @return completes on a thread of {@link Nacelle}'s, where dependents may block; exceptionally
   *     with what {@link #exec(ProcessSpec)} throws
   */
  CompletableFuture<ExecResult> execAsync(ProcessSpec process);

  /** As {@link #start(ProcessSpec)}, of a command. */
  default GuestProcess start(String... command) {
    return start(ProcessSpec.of(command));
  }

  /** As {@link #start(ProcessSpec)}, of a command. */
  default GuestProcess start(List<String> command) {
    return start(ProcessSpec.of(command));
  }

  /**
   * Starts a process and returns when it runs. When {@link ProcessSpec#stdin()} says nothing, it
   * reads what is written to {@link GuestProcess#stdin()}.
   *
   * @throws ProcessException when it could not be started, for whatever reason; with {@link
   *     ProcessException.Reason#TIMED_OUT} when the guest said neither that it runs nor why it does
   *     not until five seconds after {@link ProcessSpec#startTimeout()}
   * @throws SandboxEndedException when the sandbox ends first
   * @throws InterruptedOperationException when the thread is interrupted; the process is killed
   */
  GuestProcess start(ProcessSpec process);

  /** As {@link #startAsync(ProcessSpec)}, of a command. */
  default CompletableFuture<GuestProcess> startAsync(String... command) {
    return startAsync(ProcessSpec.of(command));
  }

  /** As {@link #startAsync(ProcessSpec)}, of a command. */
  default CompletableFuture<GuestProcess> startAsync(List<String> command) {
    return startAsync(ProcessSpec.of(command));
  }

  /**
   * As {@link #start(ProcessSpec)}, without waiting. Cancelling the future kills the process, and
   * so does completing it in any other way before it is started.
   *
   * @return completes on a thread of {@link Nacelle}'s, where dependents may block; exceptionally
   *     with what {@link #start(ProcessSpec)} throws
   */
  CompletableFuture<GuestProcess> startAsync(ProcessSpec process);

  /**
   * Makes a process and holds it before its command, until it is {@linkplain HeldProcess#release()
   * released}: the "create" of container runtimes, with "start" to follow. When {@link
   * ProcessSpec#stdin()} says nothing, it reads what is written to {@link GuestProcess#stdin()}
   * then.
   *
   * @throws ProcessException when it could not be made, for whatever reason but its command; as
   *     with {@link #start(ProcessSpec)}
   * @throws SandboxEndedException when the sandbox ends first
   * @throws InterruptedOperationException when the thread is interrupted; the process is killed
   */
  HeldProcess hold(ProcessSpec process);

  /** As {@link #startDetached(ProcessSpec)}, of a command. */
  default GuestProcessInfo startDetached(String... command) {
    return startDetached(ProcessSpec.of(command));
  }

  /** As {@link #startDetached(ProcessSpec)}, of a command. */
  default GuestProcessInfo startDetached(List<String> command) {
    return startDetached(ProcessSpec.of(command));
  }

  /**
   * Starts a process that nobody has to hold: it runs until it ends, or the sandbox does, whatever
   * becomes of its caller, and never waits for a reader. Who wants to see it {@linkplain #attach
   * attaches} to it. When {@link ProcessSpec#stdin()} says nothing, it reads what is written by
   * those who are attached.
   *
   * @return with the identifier for {@link #attach}
   * @throws ProcessException as with {@link #start(ProcessSpec)}
   * @throws SandboxEndedException when the sandbox ends first
   * @throws InterruptedOperationException when the thread is interrupted; the process is killed
   */
  GuestProcessInfo startDetached(ProcessSpec process);

  /**
   * Attaches to a process that was started {@linkplain #startDetached detached}, running or not.
   * Its outputs begin with the last 64 KiB of each, whoever has read them before, and go on with
   * what comes; while somebody is attached, it waits for that reader as any process does. Closing
   * lets go of it. Who was attached to it before is not any more: its streams end with a {@link
   * GuestIOException}.
   *
   * @param processId {@link GuestProcessInfo#id()}
   * @throws ProcessException with {@link ProcessException.Reason#NOT_FOUND} when there is no such
   *     process, or it was not started detached, or 64 of those have ended after it
   * @throws SandboxEndedException when the sandbox has ended
   */
  GuestProcess attach(long processId);

  /**
   * What was started here and what is left of it: processes that run, and those that have ended and
   * left others behind, in the order of their start. A momentary picture; at most 4096.
   *
   * @return immutable
   * @throws SandboxEndedException when the sandbox has ended
   * @throws ProcessException when the guest does not answer within five seconds
   */
  List<GuestProcessInfo> processes();

  /**
   * Sends a signal to a process that was started here or to what it started, which is how what was
   * left behind is ended: {@code signal(process, Signal.KILL, SignalScope.TREE)}. Nothing happens
   * when nobody of those is left.
   *
   * @param process one of {@link #processes()}
   * @throws SandboxEndedException when the sandbox has ended
   * @throws ProcessException when the guest does not answer within five seconds
   */
  void signal(GuestProcessInfo process, Signal signal, SignalScope scope);

  /**
   * Connects to a port of the guest on which a process listens, whichever: who is to know that it
   * is the right one has it prove that. Returns when the guest's kernel has accepted.
   *
   * @param port AF_VSOCK port, 0 to 2^32 - 2 as an unsigned int
   * @return the connection
   * @throws GuestIOException when nobody listens there, or the guest does not answer within ten
   *     seconds
   * @throws IllegalArgumentException when it is -1, which is no port
   * @throws IllegalStateException when 256 connections are open
   * @throws SandboxEndedException when the sandbox ends first
   * @throws InterruptedOperationException when the thread is interrupted
   */
  GuestSocket connect(int port) throws GuestIOException;

  /** As {@link #pause(String)}, for the reason {@code "user"}. */
  default Pause pause() {
    return pause("user");
  }

  /**
   * Has its whole machine stand still until the pause is closed. When this returns, no processor of
   * it runs, and nothing changes in its memory or on its disks; the guest's clocks stand, so that
   * its processes do not notice. When it goes on, its wall clock is set to the host's, which jumps.
   *
   * <p>Pauses may overlap, from whomever they come: it goes on when all are closed. A pause that
   * was begun for one purpose so outlasts those of others.
   *
   * <p>While it is paused, calls wait: what they say reaches the guest when it goes on. What the
   * guest is given time for, by a process's {@code timeout} and {@code startTimeout}, a {@code
   * stop}'s grace, {@link SandboxSpec#idleTimeout()} or this library's own limits, does not count
   * the pause; so who wants to wait no longer interrupts or cancels the call. {@link
   * SandboxSpec#maxLifetime()} and {@link GuestProcess#waitFor(java.time.Duration)} do count it.
   * {@link #close()} ends it at once, as its guest cannot be asked for anything. It keeps its
   * memory.
   *
   * @param reason who or what for, for {@link #pauses()}
   * @return the pause; {@link Pause#close()} ends it
   * @throws UnsupportedOperationException when the hypervisor of this host cannot pause machines
   * @throws HypervisorException when the machine does not stand still within half a minute, or
   *     sooner where the hypervisor knows better, as when the host's disk does not answer; the
   *     sandbox then ends
   * @throws SandboxEndedException when the sandbox has ended
   */
  Pause pause(String reason);

  /**
   * The reasons of those that hold it paused, in the order in which they began; empty while it
   * runs.
   */
  List<String> pauses();

  /** Reads and changes its files, whatever runs in it. */
  GuestFiles files();

  /**
   * Its network.
   *
   * @throws IllegalStateException when it was started without one
   */
  SandboxNetwork network();

  /**
   * Asks its guest to do with so much of {@link SandboxSpec#memory()}, or lets it have it again:
   * for a sandbox that is idle, or a host that runs short. Returns at once. The guest gives back
   * what it can spare, its caches first, as fast as it can; {@link #memory()} tells how far it is.
   * It is a wish: before its processes would be killed for lack of memory, it takes back what they
   * need.
   *
   * @param size at most {@link SandboxSpec#memory()}; rounded up to whole pages of 4096 bytes
   * @throws IllegalArgumentException when it is zero, or more than that
   * @throws UnsupportedOperationException where the hypervisor cannot, and for a sandbox without
   *     {@link MemoryPolicy#DENSITY}
   * @throws SandboxEndedException when it has ended
   */
  void setMemory(DataSize size);

  /**
   * What its guest has of {@link SandboxSpec#memory()}, as it says: all, unless it has followed
   * {@link #setMemory}. Where its kernel has no driver for that, it has all.
   */
  DataSize memory();

  /** Whether it can run processes: false as soon as it begins to end. */
  boolean isAlive();

  /** What tells it from every other sandbox, of whatever process and host: a UUID. */
  String id();

  /** What it was started from. */
  SandboxSpec spec();

  /** What it is made of. */
  SandboxInfo info();

  /** Where the time of its start went. */
  BootTimeline timeline();

  /**
   * The end of what the guest's kernel wrote to its console, at most 64 KiB; also when it has
   * ended.
   */
  String console();

  /**
   * Streams its console, raw: what {@link #console()} has, and then what comes. That is all since
   * its boot unless there was more than 64 KiB; what a start that failed had said is in {@link
   * BootException#console()}.
   *
   * @param listener called with each piece, whose array is its own: with what there is on the
   *     calling thread, then on a thread of the hypervisor. It must not block, nor call what waits
   *     for the guest, which waits for it: {@link #kill()} is what it may call. What it throws is
   *     logged the first time, and otherwise ignored
   * @return ends the stream, which else ends with the sandbox
   */
  ConsoleStream streamConsole(Consumer<byte[]> listener);

  /** A stream of a console, until it is closed. */
  interface ConsoleStream extends AutoCloseable {
    /**
     * Ends the stream; the listener may be in a call yet. Idempotent, on any thread; does not
     * throw.
     */
    @Override
    void close();
  }

  /** The machine's counters, as the host has them. */
  VmStatistics statistics();

  /**
   * Reads {@link #statistics()} at once and then again and again, also while it is paused.
   *
   * @param interval from one reading to the next: 100 ms to an hour
   * @param listener as {@link #streamGuestStatistics}' listener
   * @return ends the stream, which else ends with the sandbox
   * @throws IllegalArgumentException when the interval is out of its bounds
   * @throws IllegalStateException when eight streams of the host's are open
   * @throws SandboxEndedException when the sandbox has ended
   */
  StatisticsStream streamStatistics(Duration interval, Consumer<VmStatistics> listener);

  /**
   * What its processes use, as its kernel counts it.
   *
   * @throws SandboxEndedException when the sandbox has ended
   * @throws ProcessException when the guest does not answer within five seconds
   */
  GuestStatistics guestStatistics();

  /**
   * Reads {@link #guestStatistics()} at once and then again and again.
   *
   * @param interval from one reading to the next: 100 ms to an hour
   * @param listener called with one reading after the other, on threads of {@link Nacelle}'s, where
   *     it may block: it misses what would have been read meanwhile. What it throws is logged the
   *     first time, and otherwise ignored
   * @return ends the stream, which else ends with the sandbox
   * @throws IllegalArgumentException when the interval is out of its bounds
   * @throws IllegalStateException when eight streams of the guest's are open
   * @throws SandboxEndedException when the sandbox has ended
   */
  StatisticsStream streamGuestStatistics(Duration interval, Consumer<GuestStatistics> listener);

  /** A stream of statistics, until it is closed. */
  interface StatisticsStream extends AutoCloseable {
    /**
     * Ends the stream; the listener may be in a call yet. Idempotent, on any thread; does not
     * throw.
     */
    @Override
    void close();
  }

  /**
   * Completes when it has ended and nothing is left of it, with why; on a thread of {@link
   * Nacelle}'s, never exceptionally.
   */
  CompletableFuture<SandboxExit> onExit();

  /**
   * Ends it now, with all that runs in it and without asking its guest for anything. Also cuts a
   * {@link #close()} short that is under way. Does not wait: {@link #onExit()} completes, and
   * {@code close()} returns, when nothing is left. Idempotent, of no effect on a sandbox that has
   * ended, and can be called on any thread. Does not throw.
   */
  void kill();

  /**
   * Ends it: processes get their {@linkplain ProcessSpec.Builder#stopSignal stop signal} and, after
   * {@link SandboxSpec#stopGrace()}, SIGKILL; then the machine goes, with everything in it. A guest
   * that does none of that is waited for no longer than a second more; with a grace of zero the
   * machine goes at once. A disk that {@linkplain DataDisk outlives} it is made clean before, for
   * which a guest has a minute more, also with a grace of zero. Returns when nothing is left. An
   * interrupted thread does not wait for the processes. Idempotent; every caller waits. Does not
   * throw.
   *
   * <p>Nothing: the guest has ended, its memory is the host's again, its disks and connections are
   * closed and the files made for them gone. What the host's kernel has of the machine itself takes
   * it some tens of milliseconds more, in which a few sandboxes have a thread and a descriptor
   * left; {@link Nacelle#close()} waits for these, too.
   */
  @Override
  void close();
}
