// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.VmExit;
import dev.nacelle.VmStatistics;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/**
 * One virtual machine. Safe for use from several threads.
 *
 * <p>Life: created, then {@linkplain #start() started} once, then ended for a reason that {@link
 * #exit()} tells, then {@linkplain #close() closed}. It can be closed at any point, and ends by
 * that.
 */
public interface VirtualMachine extends AutoCloseable {
  /** Lowest context identifier that a guest may have; 2 is the host (virtio 1.2 section 5.10.4). */
  int FIRST_GUEST_CID = 3;

  /**
   * What not every machine can do; what it cannot is an UnsupportedOperationException. More may be
   * added: a {@code switch} has a default.
   */
  enum Ability {
    /** {@link #pause()} and {@link #resume()}. */
    PAUSE,
    /** {@link #setMemory} and {@link #memory}; for guests whose kernel has the driver. */
    RESIZE_MEMORY
  }

  /** What it can do beyond what all machines can; does not change. */
  Set<Ability> abilities();

  /**
   * Runs the first instruction. Returns at once. A second call, or one after the end, is an
   * IllegalStateException.
   */
  void start();

  /**
   * Completes when the guest has ended, whoever ended it, after the last vCPU has left the guest;
   * never exceptionally, and not cancellable by its reader. Dependents run on an unspecified thread
   * and must not block.
   */
  CompletableFuture<VmExit> exit();

  /**
   * Accepts the guest's connections to a port of the host (CID 2). Before start() none can be
   * missed. Without a listener the guest's connect is refused (reset).
   *
   * @param port AF_VSOCK port, 0 to 2^32 - 2 as an unsigned int
   * @param onConnect called on a thread of the hypervisor for each accepted connection; it must not
   *     block, and owns the connection
   * @return stops listening when closed; accepted connections stay
   * @throws IllegalStateException when that port is being listened to, or the machine has ended
   */
  Listener listen(int port, Consumer<GuestConnection> onConnect);

  /**
   * Connects to a port that a program of the guest listens on.
   *
   * @return completes with the connection, or exceptionally with a {@link
   *     java.net.ConnectException} when the guest refuses, a {@link GuestLostException} when the
   *     machine ends first, another {@link java.net.SocketException} when the connect failed and
   *     the hypervisor does not know yet whether its machine ends, another {@link
   *     java.io.IOException} when too many connections are open, or when a guest that was asked has
   *     not answered half a minute later. Has no time limit of its own before the guest can be
   *     asked: cancel it.
   */
  CompletableFuture<GuestConnection> connect(int port);

  /**
   * Has it stand still. When this returns no vCPU runs, no device reads or writes the guest's
   * memory, and the guest's clocks stand: it will not find that time has passed, except by what
   * somebody else tells it. Connections stay; what is written to them, and what arrived before, can
   * be read and written as before, and waits. Listeners are called again after {@link #resume()},
   * and nothing that the guest is given time for, an answer to a {@link #connect} among it, counts
   * the time until then. {@link #exit()} and {@link #close()} are as ever. Of no effect on a
   * machine that is paused already, or has ended.
   *
   * @throws IllegalStateException before {@link #start()}, and on a thread of a virtual machine
   * @throws HypervisorException when it does not stand still within a time that the hypervisor
   *     chooses, half a minute at most, as when the host's disk does not answer; the machine then
   *     ends, which may take as long again
   * @throws UnsupportedOperationException without {@link Ability#PAUSE}
   */
  void pause();

  /**
   * Has it go on where it was. Of no effect on a machine that is not paused, or has ended.
   *
   * @throws HypervisorException when the host refuses; the machine then ends
   * @throws UnsupportedOperationException without {@link Ability#PAUSE}
   */
  void resume();

  /**
   * Asks the guest to do with so much of its memory, or lets it have it again. Returns at once; the
   * guest does it as fast as it can, as far as it can, and takes memory back before it would run
   * out of it.
   *
   * @param size a multiple of 4096 bytes, at most {@link VmSpec#memory()}
   * @throws IllegalArgumentException when it is another
   * @throws UnsupportedOperationException without {@link Ability#RESIZE_MEMORY}
   */
  default void setMemory(DataSize size) {
    throw new UnsupportedOperationException();
  }

  /**
   * What the guest has of {@link VmSpec#memory()}, as it says, when it has given the rest back.
   *
   * @throws UnsupportedOperationException without {@link Ability#RESIZE_MEMORY}
   */
  default DataSize memory() {
    throw new UnsupportedOperationException();
  }

  /** The console's output so far. */
  Console console();

  /** Counters since creation. */
  VmStatistics statistics();

  /**
   * Ends the guest at once if it runs, resets its connections, and releases everything: threads,
   * descriptors, memory. Returns when that is done. Idempotent; concurrent calls all wait for it.
   * Does not throw.
   *
   * <p>A part that takes the host's kernel long to take apart, and has no more of the guest's
   * memory, files and connections, may go after that, on a thread of the hypervisor's: of a few
   * machines at a time, beyond which this waits for it. {@link Hypervisor#close()} waits for all.
   *
   * <p>On a thread of any virtual machine, that is in a dependent of {@link #exit()}, a listener or
   * another callback, it returns at once, and the rest follows. A thread that is stuck, in a disk
   * that does not answer or in a callback that blocks, is waited for a limited time, then named in
   * the log; what it uses, the guest's memory among it, is released when it ends.
   */
  @Override
  void close();

  /** A registration that can be withdrawn; closing is idempotent. */
  interface Listener extends AutoCloseable {
    @Override
    void close();
  }
}
