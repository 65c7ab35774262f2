// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.OperatingSystem;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkListener;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import java.util.function.UnaryOperator;

/**
 * A sandbox's network for tests: with a loop of its own, events that can be waited for, and servers
 * of the test's that stand for others.
 */
final class TestNetwork implements AutoCloseable {
  /** A public address, for which a server of the test's may stand. */
  static final String SERVER = "93.184.216.34";

  private final NetworkLoop loop;
  private final boolean ownsLoop;
  final NetworkMemory memory;
  private final Map<InetSocketAddress, InetSocketAddress> routes = new ConcurrentHashMap<>();
  private final Pins pins;
  private final LinkedBlockingQueue<NetworkEvent> events = new LinkedBlockingQueue<>();
  final HostNetwork network;
  final PlayedAgent agent;

  TestNetwork(NetworkPolicy policy, PublishedPort... published) throws IOException {
    this(policy, NameServers.of(List.of()), true, System::nanoTime, published);
  }

  /** One of which all that ends in time goes by that clock, as {@link System#nanoTime()}. */
  TestNetwork(NetworkPolicy policy, LongSupplier nanoTime, PublishedPort... published)
      throws IOException {
    this(
        policy,
        NameServers.of(List.of()),
        true,
        nanoTime,
        new NetworkLoop("test-network", new LoopBuffers(), nanoTime),
        true,
        NetworkMemory.ofRuntime(),
        published);
  }

  /** One that has so much memory for what receivers do not take. */
  TestNetwork(NetworkPolicy policy, NetworkMemory memory) throws IOException {
    this(
        policy,
        NameServers.of(List.of()),
        true,
        System::nanoTime,
        new NetworkLoop("test-network"),
        true,
        memory);
  }

  /** One on the loop of another. */
  TestNetwork(NetworkPolicy policy, TestNetwork other) throws IOException {
    this(
        policy, NameServers.of(List.of()), true, System::nanoTime, other.loop, false, other.memory);
  }

  /**
   * @param nanoTime by which names that were told expire
   */
  TestNetwork(
      NetworkPolicy policy,
      NameServers nameServers,
      boolean ipv6,
      LongSupplier nanoTime,
      PublishedPort... published)
      throws IOException {
    this(
        policy,
        nameServers,
        ipv6,
        nanoTime,
        new NetworkLoop("test-network"),
        true,
        NetworkMemory.ofRuntime(),
        published);
  }

  private TestNetwork(
      NetworkPolicy policy,
      NameServers nameServers,
      boolean ipv6,
      LongSupplier nanoTime,
      NetworkLoop loop,
      boolean ownsLoop,
      NetworkMemory memory,
      PublishedPort... published)
      throws IOException {
    this.loop = loop;
    this.ownsLoop = ownsLoop;
    this.memory = memory;
    pins = new Pins(nanoTime, Pins.CAPACITY);
    network =
        host(
            loop,
            surroundings(
                ipv6, nameServers, memory, address -> routes.getOrDefault(address, address)),
            events::add,
            policy,
            new Publisher(List.of(published)),
            pins);
    agent = PlayedAgent.of(network);
  }

  /** Has another policy from now on. */
  void update(NetworkPolicy changed) {
    network.prepare(changed).run();
  }

  /** A host of which no address is closed, and whose name servers nobody has told. */
  static Surroundings surroundings(boolean ipv6, UnaryOperator<InetSocketAddress> routes) {
    return surroundings(ipv6, NameServers.of(List.of()), NetworkMemory.ofRuntime(), routes);
  }

  static Surroundings surroundings(
      boolean ipv6,
      NameServers nameServers,
      NetworkMemory memory,
      UnaryOperator<InetSocketAddress> routes) {
    return new Surroundings(address -> false, ipv6, nameServers, memory, routes);
  }

  /** A network without a guest, of which nobody is told. */
  static HostNetwork host(
      NetworkLoop loop, Surroundings surroundings, NetworkPolicy policy, Publisher publisher) {
    return host(loop, surroundings, event -> {}, policy, publisher, new Pins(System::nanoTime, 1));
  }

  /**
   * A network without a guest.
   *
   * @param listener is told on the thread that has something to tell
   */
  static HostNetwork host(
      NetworkLoop loop,
      Surroundings surroundings,
      NetworkListener listener,
      NetworkPolicy policy,
      Publisher publisher,
      Pins pins) {
    return new HostNetwork(
        loop,
        surroundings,
        new EventSink("sandbox", listener, Runnable::run),
        policy,
        publisher,
        pins);
  }

  /** A server of the test's stands for {@link #SERVER} on that port. */
  ServerSocket server(int port) throws IOException {
    ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    route(port, server.getLocalPort());
    return server;
  }

  /** A port of this machine stands for {@link #SERVER} on that port. */
  void route(int port, int localPort) {
    routes.put(
        new InetSocketAddress(SERVER, port),
        new InetSocketAddress(InetAddress.getLoopbackAddress(), localPort));
  }

  /** The guest was told that {@link #SERVER} is at that name. */
  void told(String name) {
    CompletableFuture.runAsync(() -> pins.pin(name, AddressClassTest.ip(SERVER), 60), loop).join();
  }

  /**
   * The next event of that kind; others before it are forgotten.
   *
   * @throws AssertionError when none comes within 20 seconds
   */
  <T extends NetworkEvent> T event(Class<T> kind) throws InterruptedException {
    while (true) {
      NetworkEvent event = events.poll(20, TimeUnit.SECONDS);
      if (event == null) {
        throw new AssertionError("no " + kind.getSimpleName());
      }
      if (kind.isInstance(event)) {
        return kind.cast(event);
      }
    }
  }

  /**
   * The peer is reset, whatever came before. Below Wine, which shuts every socket down in order, it
   * sees an end.
   */
  static void assertReset(Socket peer) throws IOException {
    try {
      peer.getInputStream().readAllBytes();
    } catch (SocketException e) {
      return;
    }
    assertTrue(OperatingSystem.isWindows(), "it ends in order");
  }

  @Override
  public void close() {
    network.close();
    agent.close();
    if (ownsLoop) {
      loop.close();
    }
  }
}
