// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.TestNetwork.SERVER;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkEvent.LimitReached;
import dev.nacelle.network.NetworkPolicy;
import java.io.IOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.Pipe;
import java.nio.channels.SelectionKey;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** What fails at the host, and not at the guest or a server. */
@Timeout(60)
class NetworkFaultTest {
  private static HostNetwork network(
      NetworkLoop loop, UnaryOperator<InetSocketAddress> routes, Executor executor)
      throws IOException {
    return new HostNetwork(
        loop,
        new Surroundings(
            address -> false, false, NameServers.of(List.of()), NetworkMemory.ofRuntime(), routes),
        new EventSink("sandbox", event -> {}, executor),
        NetworkPolicy.internet(),
        new Publisher(List.of()),
        new Pins(System::nanoTime, 1));
  }

  private static ServerSocket listen() throws IOException {
    return new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
  }

  @Test
  void aHandlerThatFailsIsToldAndItsSocketIsClosed() throws Exception {
    Pipe pipe = Pipe.open();
    CountDownLatch told = new CountDownLatch(1);
    CountDownLatch goesOn = new CountDownLatch(1);
    try (NetworkLoop loop = new NetworkLoop("test-network");
        Pipe.SinkChannel sink = pipe.sink()) {
      loop.execute(
          () -> {
            try {
              loop.register(
                  pipe.source(),
                  SelectionKey.OP_READ,
                  new NetworkLoop.Handler() {
                    @Override
                    public void ready(SelectionKey key) {
                      throw new IllegalStateException("a fault of the test's");
                    }

                    @Override
                    public void faulted() {
                      told.countDown();
                      throw new IllegalStateException("another fault of the test's");
                    }
                  });
            } catch (IOException e) {
              throw new AssertionError(e);
            }
          });
      sink.write(ByteBuffer.allocate(1));
      assertTrue(told.await(20, TimeUnit.SECONDS));
      loop.execute(goesOn::countDown);
      assertTrue(goesOn.await(20, TimeUnit.SECONDS));
    }
    assertFalse(pipe.source().isOpen());
  }

  @Test
  void aFaultAtAFlowsSocketEndsThatFlow() throws Exception {
    AtomicBoolean fails = new AtomicBoolean(true);
    Executor executor =
        task -> {
          if (fails.getAndSet(false)) {
            throw new IllegalStateException("a fault of the test's");
          }
          task.run();
        };
    try (ServerSocket server = listen();
        NetworkLoop loop = new NetworkLoop("test-network");
        HostNetwork network =
            network(loop, address -> (InetSocketAddress) server.getLocalSocketAddress(), executor);
        PlayedAgent agent = PlayedAgent.of(network)) {
      // The first that is told is that it is connected.
      int flow = agent.open(SERVER, 7);
      try (Socket peer = server.accept()) {
        assertEquals(
            Reset.ABORTED, agent.await(PlayedAgent.Resets.class, r -> r.flow() == flow).why());
        TestNetwork.assertReset(peer);
      }
      assertEquals(0, network.statistics().openFlows());
      int other = agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        agent.data(other, "x");
        assertEquals('x', peer.getInputStream().read());
      }
    }
  }

  @Test
  void aFaultAtAFrameEndsTheLinkAndAllThatIsOpen() throws Exception {
    try (ServerSocket server = listen();
        NetworkLoop loop = new NetworkLoop("test-network");
        HostNetwork network =
            network(
                loop,
                address -> {
                  if (address.getPort() == 8) {
                    throw new IllegalStateException("a fault of the test's");
                  }
                  return (InetSocketAddress) server.getLocalSocketAddress();
                },
                Runnable::run);
        PlayedAgent agent = PlayedAgent.of(network)) {
      agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        agent.open(SERVER, 8);
        agent.awaitEnd();
        TestNetwork.assertReset(peer);
      }
      assertEquals(0, network.statistics().openFlows());
    }
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "its limit of descriptors is changed by prlimit")
  void datagramsForWhichThereIsNoDescriptorAreRefusedAndThatIsTold() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internet());
        DatagramSocket server = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
      test.route(7, server.getLocalPort());
      // Once with, so that all classes are there; also those of what fails.
      Place denied = new Place(AddressClassTest.ip("10.0.0.1"), 7, 1);
      test.agent.datagram(denied, new byte[1]);
      test.agent.await(PlayedAgent.Datagram.class, PlayedAgent.Datagram::refused);
      test.agent.datagram(new Place(AddressClassTest.ip(SERVER), 7, 1), new byte[1]);
      test.event(NetworkEvent.FlowAllowed.class);
      Place place = new Place(AddressClassTest.ip(SERVER), 7, 2);
      WithoutDescriptors.call(
          () -> {
            test.agent.datagram(place, new byte[1]);
            return test.agent.await(PlayedAgent.Datagram.class, d -> d.place().equals(place));
          });
      assertEquals(Limit.HOST_DESCRIPTORS, test.event(LimitReached.class).limit());
      assertEquals(1, test.network.statistics().failed());
    }
  }
}
