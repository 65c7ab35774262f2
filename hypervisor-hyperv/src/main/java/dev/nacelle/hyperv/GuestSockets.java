// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.hyperv.sys.HvSocket;
import dev.nacelle.hyperv.sys.HvSocketAddress;
import dev.nacelle.hyperv.sys.SocketEvents;
import dev.nacelle.hyperv.sys.WinsockException;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestLostException;
import dev.nacelle.spi.MachineThread;
import dev.nacelle.spi.VirtualMachine;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.ConnectException;
import java.net.SocketException;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The sockets between the host and one machine's guest, with one thread for all of them: it waits
 * on one event that they share, then asks each what happened to it. Safe for use from several
 * threads; users are called on that thread.
 *
 * <p>What a guest can make grow is bounded by {@link #MOST}: it has its connections reset from
 * there on.
 *
 * <p>A guest that is not up yet cannot be told from one where nobody listens: Windows refuses, or
 * nothing answers, in both cases. So a connect is repeated until there has been a connection with
 * this guest, and from then on counts as it ends.
 */
final class GuestSockets implements AutoCloseable {
  /** Connections of a machine at a time, those being made among them. */
  static final int MOST = 512;

  /** How long a guest has to answer a connect. */
  static final Duration ANSWER_LIMIT = Duration.ofSeconds(30);

  /** For as long a guest that may not be up is asked, before it is asked again. */
  private static final Duration ATTEMPT = Duration.ofSeconds(2);

  /** Between attempts that were refused at once. */
  private static final long PAUSE_NANOS = 100_000_000;

  private static final int PAUSE_MILLIS = (int) (PAUSE_NANOS / 1_000_000);

  /** Nothing has to happen then. */
  private static final int LONG_MILLIS = 60_000;

  /** How many connects of a guest wait for the loop. */
  private static final int BACKLOG = 128;

  /** Numbers for the host's end of its own connects, above what a service would listen on. */
  private static final int FIRST_EPHEMERAL_PORT = 0x4000_0000;

  /** VMADDR_PORT_ANY: no port, or one that Windows does not tell. */
  private static final int ANY_PORT = -1;

  private final UUID vm;

  /** {@link #MOST}, but for tests. */
  private final int most;

  private final SocketEvents events;
  private final MachineThread thread;

  private final Map<Integer, Acceptor> acceptors = new ConcurrentHashMap<>();
  private final Set<Attempt> attempts = ConcurrentHashMap.newKeySet();
  private final Set<HvConnection> connections = ConcurrentHashMap.newKeySet();

  /** Guards what is made against the end, after which nothing is, and {@link #taken}. */
  private final Object lock = new Object();

  /** Connections and attempts. */
  private int taken;

  /** Why the machine is no more; null while it is. */
  private volatile @Nullable String end;

  private volatile boolean running;
  private volatile boolean paused;
  private volatile boolean closing;
  private volatile boolean loopEnded;

  // Of the loop alone
  private boolean guestIsKnown;
  private boolean endIsKnown;
  private int nextEphemeralPort = FIRST_EPHEMERAL_PORT;

  /**
   * Starts the thread.
   *
   * @param name of the thread
   * @param vm the machine's runtime ID
   * @throws WinsockException when Windows has no event for it
   */
  GuestSockets(String name, UUID vm) throws WinsockException {
    this(name, vm, MOST);
  }

  /** As the other; with another bound than {@link #MOST}. */
  GuestSockets(String name, UUID vm, int most) throws WinsockException {
    this.vm = vm;
    this.most = most;
    events = new SocketEvents();
    thread = new MachineThread(this::run, name);
    try {
      thread.start();
    } catch (OutOfMemoryError e) {
      events.close();
      throw e;
    }
  }

  /** Somebody of the host who accepts connections. */
  private record Acceptor(int port, HvSocket socket, Consumer<GuestConnection> onConnect) {}

  /** A connect that has not ended; only the loop uses what changes. */
  private static final class Attempt {
    final int port;
    final CompletableFuture<GuestConnection> future = new CompletableFuture<>();
    @Nullable HvSocket socket;

    /** It counts, since the guest was up when it began. */
    boolean counts;

    long notBefore = System.nanoTime();

    Attempt(int port) {
      this.port = port;
    }
  }

  /** As {@link VirtualMachine#listen}. */
  VirtualMachine.Listener listen(int port, Consumer<GuestConnection> onConnect) {
    requirePort(port);
    Acceptor acceptor;
    synchronized (lock) {
      if (end != null) {
        throw new IllegalStateException(end);
      }
      if (acceptors.containsKey(port)) {
        throw taken(port, null);
      }
      try {
        HvSocket socket = HvSocket.listen(HvSocketAddress.ofPort(vm, port), BACKLOG, events);
        acceptor = new Acceptor(port, socket, onConnect);
      } catch (WinsockException e) {
        if (e.isTaken()) {
          throw taken(port, e);
        }
        throw new HypervisorException(
            Stage.CREATE,
            "Nobody can listen on port " + name(port) + " for the guest: " + e.getMessage(),
            null,
            e);
      }
      acceptors.put(port, acceptor);
    }
    events.wake();
    return () -> {
      synchronized (lock) {
        acceptor.socket.close();
        acceptors.remove(port, acceptor);
      }
    };
  }

  private static IllegalStateException taken(int port, @Nullable Throwable cause) {
    return new IllegalStateException("port " + name(port) + " is being listened to already", cause);
  }

  /** As {@link VirtualMachine#connect}. */
  CompletableFuture<GuestConnection> connect(int port) {
    requirePort(port);
    Attempt attempt = new Attempt(port);
    synchronized (lock) {
      if (end != null) {
        return CompletableFuture.failedFuture(new GuestLostException(connecting(port) + end));
      }
      if (taken == most) {
        return CompletableFuture.failedFuture(
            new IOException(connecting(port) + most + " connections are open already"));
      }
      taken++;
      attempts.add(attempt);
    }
    // One that is cancelled is given up.
    var unused = attempt.future.whenComplete((connection, failure) -> events.wake());
    events.wake();
    return attempt.future;
  }

  private static void requirePort(int port) {
    if (port == ANY_PORT) {
      throw new IllegalArgumentException("4294967295 (VMADDR_PORT_ANY) is not a port");
    }
  }

  private static String name(int port) {
    return Integer.toUnsignedString(port);
  }

  private static String connecting(int port) {
    return "connecting to port " + name(port) + ": ";
  }

  /** The guest runs: it is asked from now on. */
  void started() {
    running = true;
    events.wake();
  }

  /**
   * The guest stands still: it is not asked until {@link #resume}, nor is an answer waited for that
   * has not come. Connects that have begun begin again then.
   */
  void pause() {
    paused = true;
    events.wake();
  }

  void resume() {
    paused = false;
    events.wake();
  }

  /**
   * The machine has ended: nothing is accepted or connected any more; what was received can still
   * be read. Only the first reason counts.
   */
  void end(String why) {
    synchronized (lock) {
      if (end == null) {
        end = why;
      }
    }
    events.wake();
  }

  boolean hasEnded() {
    return end != null;
  }

  IOException endOfMachine() {
    return new GuestLostException(String.valueOf(end));
  }

  /**
   * Closes all sockets and ends the thread, which is waited for as {@link ThreadEnd#await} says.
   * Idempotent.
   */
  @Override
  public void close() {
    end("the virtual machine was closed");
    closing = true;
    events.wake();
    ThreadEnd.await(thread);
  }

  // ---- for connections

  /** Has the user called, on the loop while there is one. */
  void deliver(HvConnection connection) {
    if (loopEnded) {
      connection.callListener();
    } else {
      events.wake();
    }
  }

  void forget(HvConnection connection) {
    if (connections.remove(connection)) {
      free();
    }
  }

  private void free() {
    synchronized (lock) {
      taken--;
    }
  }

  // ---- the loop

  private void run() {
    try {
      while (!closing) {
        // What happened before this returns is seen by what follows.
        events.await(asksGuest() && !attempts.isEmpty() ? PAUSE_MILLIS : LONG_MILLIS);
        if (end != null && !endIsKnown) {
          endIsKnown = true;
          acceptors.values().forEach(acceptor -> acceptor.socket.close());
          acceptors.clear();
          connections.forEach(HvConnection::ended);
        }
        acceptors.values().forEach(this::accept);
        attempts.forEach(this::advance);
        connections.forEach(HvConnection::look);
      }
    } catch (WinsockException | RuntimeException | Error e) {
      logger().log(Level.WARNING, thread.getName() + " failed: the machine has no connections", e);
    } finally {
      finish();
    }
  }

  private void finish() {
    end("the machine's connections have failed");
    acceptors.values().forEach(acceptor -> acceptor.socket.close());
    attempts.forEach(this::advance);
    loopEnded = true;
    connections.forEach(HvConnection::release);
    events.close();
  }

  /** One at a time: Windows tells again while there are more. */
  private void accept(Acceptor acceptor) {
    HvSocket.Accepted accepted;
    try {
      accepted = acceptor.socket.events().isAcceptable() ? acceptor.socket.accept() : null;
    } catch (WinsockException e) {
      // It was closed, or the guest has given up.
      logger().log(Level.DEBUG, "no connection on port " + name(acceptor.port), e);
      return;
    }
    if (accepted == null) {
      return;
    }
    guestIsKnown = true;
    HvConnection connection =
        new HvConnection(
            this, accepted.socket(), acceptor.port, accepted.peer().port().orElse(ANY_PORT));
    synchronized (lock) {
      if (end != null || taken == most) {
        accepted.socket().close();
        return;
      }
      taken++;
      connections.add(connection);
    }
    try {
      acceptor.onConnect.accept(connection);
    } catch (RuntimeException | Error e) {
      connection.close();
      logger().log(Level.WARNING, "a listener failed; " + connection + " is closed", e);
    }
  }

  private void advance(Attempt attempt) {
    if (end != null) {
      fail(attempt, new GuestLostException(connecting(attempt.port) + end));
    } else if (attempt.future.isDone()) {
      drop(attempt);
    } else if (attempt.socket != null) {
      look(attempt, attempt.socket);
      if (paused && attempts.contains(attempt)) {
        close(attempt);
      }
    } else if (asksGuest() && System.nanoTime() - attempt.notBefore >= 0) {
      begin(attempt);
    }
  }

  private boolean asksGuest() {
    return running && !paused;
  }

  private void begin(Attempt attempt) {
    attempt.counts = guestIsKnown;
    try {
      attempt.socket =
          HvSocket.connect(
              HvSocketAddress.ofPort(vm, attempt.port),
              attempt.counts ? ANSWER_LIMIT : ATTEMPT,
              events);
    } catch (WinsockException e) {
      turnedAway(attempt, e);
    }
  }

  private void look(Attempt attempt, HvSocket socket) {
    try {
      HvSocket.Events happened = socket.events();
      if (!happened.hasConnected()) {
        return;
      }
      happened.requireConnected();
    } catch (WinsockException e) {
      turnedAway(attempt, e);
      return;
    }
    guestIsKnown = true;
    HvConnection connection = new HvConnection(this, socket, ephemeralPort(), attempt.port);
    // The attempt's place becomes the connection's.
    attempts.remove(attempt);
    connections.add(connection);
    if (!attempt.future.complete(connection)) {
      connection.close();
    }
  }

  private int ephemeralPort() {
    int port = nextEphemeralPort;
    nextEphemeralPort = port == Integer.MAX_VALUE ? FIRST_EPHEMERAL_PORT : port + 1;
    return port;
  }

  private void turnedAway(Attempt attempt, WinsockException failure) {
    if (!attempt.counts && (failure.isRefusal() || failure.isSilence())) {
      close(attempt);
      attempt.notBefore = System.nanoTime() + PAUSE_NANOS;
      return;
    }
    String why = connecting(attempt.port) + failure.getMessage();
    SocketException told =
        failure.isRefusal() ? new ConnectException(why) : new SocketException(why);
    told.initCause(failure);
    fail(attempt, told);
  }

  private void fail(Attempt attempt, IOException failure) {
    drop(attempt);
    attempt.future.completeExceptionally(failure);
  }

  private void drop(Attempt attempt) {
    close(attempt);
    if (attempts.remove(attempt)) {
      free();
    }
  }

  private static void close(Attempt attempt) {
    HvSocket socket = attempt.socket;
    if (socket != null) {
      socket.close();
      attempt.socket = null;
    }
  }

  private static System.Logger logger() {
    return System.getLogger(GuestSockets.class.getName());
  }
}
