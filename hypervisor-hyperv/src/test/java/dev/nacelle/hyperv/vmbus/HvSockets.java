// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.VirtualMachine.Listener;
import java.io.IOException;
import java.net.ConnectException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/**
 * Sockets between host and guest: each is a channel, which the host offers, whoever of the two
 * connects. Safe for use from several threads.
 */
final class HvSockets implements Vmbus.Sockets {
  /** 00000000-facb-11e6-bd58-64006a7986d3: a port of AF_VSOCK, its first number, as a service. */
  private static final long SERVICE_HIGH = 0xfacb_11e6L;

  private static final long SERVICE_LOW = 0xbd58_6400_6a79_86d3L;

  /**
   * A guest where nobody listens says nothing; Windows gives up after 2 s by default. An emulated
   * machine may take longer.
   */
  private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(5);

  private static final int FIRST_HOST_PORT = 0x4000_0000;

  private final Map<Integer, Consumer<GuestConnection>> listeners = new ConcurrentHashMap<>();
  private final Set<SocketConnection> connections = ConcurrentHashMap.newKeySet();
  private final Set<CompletableFuture<GuestConnection>> pendingConnects =
      ConcurrentHashMap.newKeySet();

  private final AtomicInteger nextHostPort = new AtomicInteger(FIRST_HOST_PORT);

  /** What is offered when the guest's driver has come; on the bus's thread. */
  private final List<Runnable> waiting = new ArrayList<>();

  private Vmbus bus;
  private boolean connected; // on the bus's thread
  private volatile boolean ended;

  @SuppressWarnings("NullAway.Init") // attached before anything else
  HvSockets() {}

  void attach(Vmbus itsBus) {
    bus = itsBus;
  }

  Vmbus bus() {
    return bus;
  }

  static UUID service(int port) {
    return new UUID((long) port << 32 | SERVICE_HIGH, SERVICE_LOW);
  }

  static int port(UUID service) {
    return (int) (service.getMostSignificantBits() >>> 32);
  }

  Listener listen(int port, Consumer<GuestConnection> onConnect) {
    if (ended || listeners.putIfAbsent(port, onConnect) != null) {
      throw new IllegalStateException("port " + Integer.toUnsignedString(port) + " is taken");
    }
    return () -> listeners.remove(port, onConnect);
  }

  CompletableFuture<GuestConnection> connect(int port) {
    CompletableFuture<GuestConnection> result = new CompletableFuture<>();
    bus.execute(
        () -> {
          if (connected) {
            offer(port, result);
          } else {
            waiting.add(() -> offer(port, result));
          }
        });
    pendingConnects.add(result);
    var unused = result.whenComplete((connection, failure) -> pendingConnects.remove(result));
    if (ended) {
      result.completeExceptionally(new IOException("the machine has ended"));
    }
    return result;
  }

  private void offer(int port, CompletableFuture<GuestConnection> result) {
    if (result.isDone()) {
      return;
    }
    int hostPort = nextHostPort.getAndIncrement();
    UUID endpoint =
        new UUID((long) hostPort << 32 | SERVICE_HIGH, UUID.randomUUID().getLeastSignificantBits());
    SocketConnection connection =
        new SocketConnection(this, service(port), endpoint, true, hostPort, port, result::complete);
    offer(connection);
    bus.later(
        CONNECT_TIMEOUT,
        () -> {
          String why = "nobody listens on port " + Integer.toUnsignedString(port) + " of the guest";
          if (result.completeExceptionally(new ConnectException(why))) {
            connection.close();
          }
        });
  }

  private void offer(SocketConnection connection) {
    connections.add(connection);
    connection.offered(bus.offer(connection));
  }

  void forget(SocketConnection connection) {
    connections.remove(connection);
  }

  // ---- on the bus's thread

  @Override
  public void connected() {
    connected = true;
    waiting.forEach(Runnable::run);
    waiting.clear();
  }

  @Override
  public void connectRequested(UUID guestEndpoint, UUID hostService) {
    Consumer<GuestConnection> listener = listeners.get(port(hostService));
    if (listener != null) {
      offer(
          new SocketConnection(
              this,
              hostService,
              guestEndpoint,
              false,
              port(hostService),
              port(guestEndpoint),
              connection -> {
                listener.accept(connection);
                return true;
              }));
    }
  }

  /** Nothing comes any more. */
  void machineEnded() {
    ended = true;
    listeners.clear();
    List.copyOf(pendingConnects)
        .forEach(result -> result.completeExceptionally(new IOException("the machine has ended")));
    connections.forEach(SocketConnection::machineEnded);
  }
}
