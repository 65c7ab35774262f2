// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import dev.nacelle.VmExit;
import dev.nacelle.VmStatistics;
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
   *     java.net.ConnectException} when the guest refuses, another {@link java.io.IOException} when
   *     the machine ends first, when too many connections are open, or when a guest that was asked
   *     has not answered half a minute later. Has no time limit of its own before the guest can be
   *     asked: cancel it.
   */
  CompletableFuture<GuestConnection> connect(int port);

  /** The console's output so far. */
  Console console();

  /** Counters since creation. */
  VmStatistics statistics();

  /**
   * Ends the guest at once if it runs, resets its connections, and releases everything: threads,
   * descriptors, memory. Returns when that is done. Idempotent; concurrent calls all wait for it.
   * Does not throw.
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
