// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import dev.nacelle.GuestSocket;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.VirtualMachine;
import java.io.IOException;
import java.net.ConnectException;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.function.Consumer;

/**
 * Connects the user of a sandbox with processes of its guest. The connections end with the machine.
 * Safe for use from several threads.
 */
final class GuestSockets {
  /**
   * Connections of a sandbox at a time. Each holds what a side that does not read leaves on its
   * way: on KVM some 50 MiB in all of them.
   */
  static final int MOST = 256;

  /** A guest's kernel answers a connect by itself, whatever its processes do. */
  static final Duration ANSWER_LIMIT = Duration.ofSeconds(10);

  private final GuestCalls calls;
  private final VirtualMachine vm;
  private final Timers timers;
  private final Duration limit;
  private final Consumer<CompletableFuture<Void>> onConnect;
  private final Semaphore places = new Semaphore(MOST);

  /**
   * @param timers time what is expected of the guest
   * @param limit how long a guest may take to answer
   * @param onConnect gets of each connection, before it is made, what completes when it is no more
   */
  GuestSockets(
      GuestCalls calls,
      VirtualMachine vm,
      Timers timers,
      Duration limit,
      Consumer<CompletableFuture<Void>> onConnect) {
    this.calls = calls;
    this.vm = vm;
    this.timers = timers;
    this.limit = limit;
    this.onConnect = onConnect;
  }

  /** As {@link dev.nacelle.Sandbox#connect}. */
  GuestSocket connect(int port) throws GuestIOException {
    if (port == -1) {
      throw new IllegalArgumentException("4294967295 (VMADDR_PORT_ANY) is not a port");
    }
    calls.requireOpen();
    if (!places.tryAcquire()) {
      throw new IllegalStateException(MOST + " connections to the guest are open already");
    }
    CompletableFuture<Void> ended = new CompletableFuture<>();
    var unused = ended.thenRun(places::release);
    onConnect.accept(ended);
    try {
      return new OpenSocket(establish(port), calls, ended);
    } catch (Throwable e) {
      ended.complete(null);
      throw e;
    }
  }

  private GuestConnection establish(int port) throws GuestIOException {
    CompletableFuture<GuestConnection> connecting = vm.connect(port);
    Future<?> timer = timers.schedule(() -> connecting.cancel(true), limit);
    boolean answered = false;
    try {
      GuestConnection connection = connecting.get();
      answered = true;
      return connection;
    } catch (ExecutionException e) {
      throw refused(port, Failures.cause(e));
    } catch (CancellationException e) {
      throw new GuestIOException(
          "the guest did not answer a connect to its port " + name(port) + " within " + limit);
    } catch (InterruptedException e) {
      throw GuestCalls.interrupted(e);
    } finally {
      timer.cancel(false);
      if (!answered) {
        connecting.cancel(true);
        // Of no effect unless it was answered in the last moment.
        var unused = connecting.thenAccept(GuestConnection::close);
      }
    }
  }

  /**
   * Why there is no connection.
   *
   * @throws dev.nacelle.SandboxEndedException when it is for the sandbox's end
   */
  private GuestIOException refused(int port, Throwable cause) {
    if (cause instanceof ConnectException) {
      return new GuestIOException("nobody listens on port " + name(port) + " of the guest", cause);
    }
    if (!(cause instanceof IOException broken)) {
      throw new IllegalStateException("unexpected failure of a connect to the guest", cause);
    }
    if (calls.endedBy(broken)) {
      throw calls.endedException(cause);
    }
    return new GuestIOException(String.valueOf(cause.getMessage()), cause);
  }

  private static String name(int port) {
    return Integer.toUnsignedString(port);
  }
}
