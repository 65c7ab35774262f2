// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.BootException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.NacelleException;
import dev.nacelle.ProcessException;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.fake.InMemoryGuestConnection;
import dev.nacelle.internal.FreePort;
import dev.nacelle.net.HostNetwork;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** What a sandbox's network is given, and when it ends; what passes there is tested elsewhere. */
@Timeout(60)
@ExtendWith(NettyLeaks.class)
class SandboxNetworkTest {
  private static final NetworkPolicy INTERNAL = NetworkPolicy.internal();
  private static final PublishedPort WEB = PublishedPort.tcp(80);
  private static final PublishedPort NAMES = PublishedPort.udp(53);

  private final FakeNacelle fake = new FakeNacelle();

  @AfterEach
  void nothingIsLeft() {
    fake.close();
    assertEquals(List.of(), threads());
  }

  private static SandboxSpec.Builder spec() {
    return FakeNacelle.spec().network(INTERNAL).publish(WEB, NAMES);
  }

  private static List<String> threads() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(Thread::isAlive)
        .map(Thread::getName)
        .filter(name -> name.startsWith("nacelle-network"))
        .toList();
  }

  private static void assertRefuses(InetSocketAddress address) {
    assertThrows(
        ConnectException.class,
        () -> new Socket(address.getAddress(), address.getPort()).close(),
        address::toString);
  }

  @Test
  void withoutOneThereIsNothingOfIt() {
    Sandbox sandbox = fake.start();
    assertFalse(fake.machine().agent().prepared().get(0).hasNetwork());
    assertEquals(List.of(), threads());
    IllegalStateException e = assertThrows(IllegalStateException.class, sandbox::network);
    assertTrue(e.getMessage().contains("give its specification one"), e.getMessage());
  }

  @Test
  void theGuestConnectsItOnceWhileItIsPrepared() {
    Sandbox sandbox = fake.nacelle.start(spec().build());
    assertTrue(fake.machine().agent().prepared().get(0).hasNetwork());
    assertTrue(fake.machine().network().isDone());
    assertEquals(Set.of(), fake.machine().listening());
    assertEquals(INTERNAL, sandbox.network().policy());
    assertEquals(0, sandbox.network().statistics().opened());
    assertEquals(1, threads().size());
  }

  @Test
  void aSecondConnectionIsNotTaken() throws Exception {
    CompletableFuture<InMemoryGuestConnection> second = new CompletableFuture<>();
    FakeNacelle own = new FakeNacelle(Fault.NEVER_PREPARES);
    try (own) {
      CompletableFuture<Sandbox> starting = own.nacelle.startAsync(spec().build());
      while (own.hypervisor.machines().isEmpty()
          || !own.machine().listening().contains(HostNetwork.PORT)) {
        Thread.sleep(1);
      }
      own.machine().dial(HostNetwork.PORT);
      second.complete(own.machine().dial(HostNetwork.PORT));
      while (second.join().read(ByteBuffer.allocate(1)) == 0) {
        Thread.sleep(1);
      }
      assertEquals(-1, second.join().read(ByteBuffer.allocate(1)));
      starting.cancel(true);
    }
  }

  @Test
  void aGuestThatIsPreparedWithoutItIsNotReady() {
    try (FakeNacelle own = new FakeNacelle(Fault.HAS_NO_NETWORK)) {
      BootException e =
          assertThrows(
              BootException.class,
              () -> own.nacelle.start(spec().startTimeout(Duration.ofSeconds(3)).build()));
      assertEquals(Stage.PREPARE, e.stage());
    }
  }

  @Test
  void publishedPortsAreThereAsLongAsTheSandbox() throws Exception {
    Sandbox sandbox = fake.nacelle.start(spec().build());
    Map<PublishedPort, InetSocketAddress> published = sandbox.network().published();
    assertEquals(Set.of(WEB, NAMES), published.keySet());
    InetSocketAddress web = sandbox.network().published(80);
    assertEquals(published.get(WEB), web);
    assertEquals(InetAddress.getByName("127.0.0.1"), web.getAddress());
    new Socket(web.getAddress(), web.getPort()).close();
    sandbox.close();
    assertRefuses(web);
    assertEquals(published, sandbox.network().published());
    assertEquals(0, sandbox.network().statistics().opened());
  }

  @Test
  void portsThatAreNotPublishedOverTcpAreNotToBeHad() {
    Sandbox sandbox = fake.nacelle.start(spec().build());
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> sandbox.network().published(53));
    assertEquals("the port 53/TCP is not published, only [80/TCP, 53/UDP]", e.getMessage());
  }

  @Test
  void aPortThatSomebodyHasFailsTheStartBeforeThereIsAMachine() throws Exception {
    InetAddress localhost = InetAddress.getByName("127.0.0.1");
    try (ServerSocket taken = new ServerSocket(0, 1, localhost)) {
      int port = taken.getLocalPort();
      NacelleException e =
          assertThrows(
              NacelleException.class,
              () ->
                  fake.nacelle.start(
                      spec().publish(PublishedPort.tcp(81).onHostPort(port)).build()));
      assertEquals(Stage.CREATE, e.stage());
      assertTrue(e.getMessage().contains("81/TCP on 127.0.0.1:" + port), e.getMessage());
      assertTrue(e.remedy().isPresent());
      assertEquals(List.of(), fake.hypervisor.machines());
      assertEquals(List.of(), threads());
    }
  }

  @Test
  void aStartThatFailsClosesThePorts() throws Exception {
    int port = FreePort.find();
    try (FakeNacelle own = new FakeNacelle(Fault.DIES_IN_PREPARE)) {
      SandboxSpec.Builder spec = spec().publish(PublishedPort.tcp(81).onHostPort(port));
      assertThrows(BootException.class, () -> own.nacelle.start(spec.build()));
      assertRefuses(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port));
    }
  }

  @Test
  void theGuestsConnectionEndsWithTheSandbox() throws Exception {
    Sandbox sandbox = fake.nacelle.start(spec().build());
    InMemoryGuestConnection guest = fake.machine().network().join();
    sandbox.kill();
    sandbox.onExit().join();
    assertThrows(
        IOException.class,
        () -> {
          while (guest.read(ByteBuffer.allocate(1)) == 0) {
            Thread.sleep(1);
          }
          throw new IOException("it has ended");
        });
    assertThrows(SandboxEndedException.class, () -> sandbox.network().update(INTERNAL));
  }

  @Test
  void whoWaitsForAPortIsToldThatNobodyAccepts() {
    Sandbox sandbox = fake.nacelle.start(spec().build());
    ProcessException e =
        assertThrows(
            ProcessException.class,
            () -> sandbox.network().awaitPort(8000, Duration.ofMillis(120)));
    assertEquals(ProcessException.Reason.TIMED_OUT, e.reason());
    assertTrue(e.getMessage().contains("port 8000 within PT0.12S"), e.getMessage());
    assertThrows(
        IllegalArgumentException.class, () -> sandbox.network().awaitPort(0, Duration.ZERO));
  }

  @Test
  void whoWaitsForAPortIsToldOfTheEnd() {
    Sandbox sandbox = fake.nacelle.start(spec().build());
    CompletableFuture<Void> waiting =
        CompletableFuture.runAsync(
            () -> sandbox.network().awaitPort(8000, Duration.ofDays(365_000)));
    sandbox.kill();
    assertTrue(
        waiting
            .handle((done, failure) -> failure.getCause() instanceof SandboxEndedException)
            .join());
  }

  @Test
  void whoWaitsForAPortCanBeInterrupted() {
    Sandbox sandbox = fake.nacelle.start(spec().build());
    Thread.currentThread().interrupt();
    assertThrows(
        InterruptedOperationException.class,
        () -> sandbox.network().awaitPort(8000, Duration.ofMinutes(5)));
    assertTrue(Thread.interrupted());
  }

  @Test
  void thePolicyIsTheOneThatWasGivenLast() {
    Sandbox sandbox = fake.nacelle.start(spec().build());
    sandbox.network().update(NetworkPolicy.none());
    assertTrue(sandbox.network().policy().isNone());
    sandbox.network().update(NetworkPolicy.internet());
    assertEquals(NetworkPolicy.internet(), sandbox.network().policy());
    assertEquals(INTERNAL, sandbox.spec().network());
  }

  @Test
  void nameServersHaveAnAddressAndAPort() {
    InetSocketAddress good = new InetSocketAddress("192.0.2.1", 53);
    for (List<InetSocketAddress> wrong :
        List.of(
            List.<InetSocketAddress>of(),
            List.of(good, good, good, good),
            List.of(InetSocketAddress.createUnresolved("example.com", 53)),
            List.of(new InetSocketAddress("192.0.2.1", 0)))) {
      assertThrows(
          IllegalArgumentException.class,
          () -> new EngineBuilder().nameServers(wrong),
          wrong::toString);
    }
    new EngineBuilder().nameServers(List.of(good));
  }

  @Test
  void manySandboxesShareFewThreads() {
    for (int i = 0; i < 6; i++) {
      fake.nacelle.start(FakeNacelle.spec().network(INTERNAL).build());
    }
    int most = Math.min(4, Runtime.getRuntime().availableProcessors());
    assertEquals(most, threads().size());
  }
}
