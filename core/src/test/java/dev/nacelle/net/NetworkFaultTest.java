// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.TestNetwork.SERVER;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.util.concurrent.Uninterruptibles;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.FreePort;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkEvent.LimitReached;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.network.Rate;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.Pipe;
import java.nio.channels.SelectionKey;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What fails at the host, and not at the guest or a server. */
@Timeout(60)
class NetworkFaultTest {
  private static final byte[] MEGABYTE = new byte[1 << 20];
  private static final long LIMIT_KILOBYTES = 12_000_000;
  private static final long STACK_KILOBYTES = 200 << 10;

  /** Memory for what waits for guests, which is not to be had so many times. */
  private static final class FailingBuffers extends LoopBuffers {
    private final AtomicInteger faults = new AtomicInteger();

    /** A permit for each that was met. */
    private final Semaphore met = new Semaphore(0);

    @Override
    ByteBuffer take() {
      if (faults.get() > 0) {
        faults.decrementAndGet();
        met.release();
        throw new IllegalStateException("a fault of the test's");
      }
      return super.take();
    }
  }

  private static HostNetwork network(
      NetworkLoop loop,
      UnaryOperator<InetSocketAddress> routes,
      NetworkPolicy policy,
      PublishedPort... published)
      throws IOException {
    return TestNetwork.host(
        loop, TestNetwork.surroundings(false, routes), policy, new Publisher(List.of(published)));
  }

  /** A network with buffers of the test's, and a server that stands for all. */
  private static final class Served implements AutoCloseable {
    private final ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    private final NetworkLoop loop;
    final HostNetwork network;
    final PlayedAgent agent;

    Served(LoopBuffers buffers, NetworkPolicy policy) throws IOException {
      loop = new NetworkLoop("test-network", buffers, System::nanoTime);
      network =
          network(loop, address -> (InetSocketAddress) server.getLocalSocketAddress(), policy);
      agent = PlayedAgent.of(network);
    }

    Socket accept() throws IOException {
      return server.accept();
    }

    @Override
    public void close() throws IOException {
      network.close();
      agent.close();
      loop.close();
      server.close();
    }
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
    FailingBuffers buffers = new FailingBuffers();
    try (Served test = new Served(buffers, NetworkPolicy.internet())) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = test.accept()) {
        buffers.faults.set(1);
        peer.getOutputStream().write('x');
        assertEquals(
            Reset.ABORTED, test.agent.await(PlayedAgent.Resets.class, r -> r.flow() == flow).why());
        TestNetwork.assertReset(peer);
      }
      assertEquals(0, test.network.statistics().openFlows());
      int other = test.agent.connect(SERVER, 7);
      try (Socket peer = test.accept()) {
        test.agent.data(other, "x");
        assertEquals('x', peer.getInputStream().read());
      }
    }
  }

  @Test
  void aFaultOfWhichTheGuestCannotBeToldEndsTheLink() throws Exception {
    FailingBuffers buffers = new FailingBuffers();
    try (Served test = new Served(buffers, NetworkPolicy.internet())) {
      test.agent.connect(SERVER, 7);
      test.agent.connect(SERVER, 7);
      try (Socket peer = test.accept();
          Socket other = test.accept()) {
        buffers.faults.set(2);
        peer.getOutputStream().write('x');
        test.agent.awaitEnd();
        TestNetwork.assertReset(peer);
        TestNetwork.assertReset(other);
      }
      assertEquals(0, test.network.statistics().openFlows());
    }
  }

  @Test
  void aFaultAtAFlowThatWaitedForARateEndsThatFlow() throws Exception {
    FailingBuffers buffers = new FailingBuffers();
    NetworkPolicy unlimited = NetworkPolicy.internet();
    // What is beyond the first thousand waits for longer than a test takes.
    NetworkLimits limits =
        NetworkLimits.builder().ingress(Rate.perSecond(1).withBurst(1000)).build();
    try (Served test = new Served(buffers, unlimited.toBuilder().limits(limits).build())) {
      int one = test.agent.connect(SERVER, 7);
      try (Socket first = test.accept()) {
        int two = test.agent.connect(SERVER, 7);
        try (Socket second = test.accept()) {
          first.getOutputStream().write(new byte[2000]);
          test.agent.bytes(one, 1000);
          second.getOutputStream().write(new byte[2000]);
          // When this has passed, that the second has something was seen, too.
          test.agent.data(two, "x");
          assertEquals('x', second.getInputStream().read());
          buffers.faults.set(1);
          test.network.prepare(unlimited).run();
          assertEquals(
              Reset.ABORTED,
              test.agent.await(PlayedAgent.Resets.class, r -> r.flow() == one).why());
          TestNetwork.assertReset(first);
          test.agent.bytes(two, 2000);
        }
      }
    }
  }

  @Test
  void aFaultAtAPublishedPortLosesWhoCameAndNotThePort() throws Exception {
    PublishedPort web = PublishedPort.tcp(8000);
    PublishedPort datagrams = PublishedPort.udp(5000);
    FailingBuffers buffers = new FailingBuffers();
    try (NetworkLoop loop = new NetworkLoop("test-network", buffers, System::nanoTime);
        HostNetwork network =
            network(loop, address -> address, NetworkPolicy.internet(), web, datagrams);
        PlayedAgent agent = PlayedAgent.of(network);
        DatagramSocket sender = new DatagramSocket()) {
      InetSocketAddress other = network.published().get(datagrams);
      buffers.faults.set(1);
      sender.send(new DatagramPacket("lost".getBytes(ISO_8859_1), 4, other));
      buffers.met.acquire();
      sender.send(new DatagramPacket("kept".getBytes(ISO_8859_1), 4, other));
      byte[] told = agent.await(PlayedAgent.Datagram.class, datagram -> true).bytes();
      assertEquals("kept", new String(told, ISO_8859_1));
      InetSocketAddress port = network.published().get(web);
      for (int i = 0; i < 2; i++) {
        buffers.faults.set(1);
        try (Socket lost = new Socket(port.getAddress(), port.getPort())) {
          TestNetwork.assertReset(lost);
        }
        assertEquals(0, network.statistics().openFlows());
      }
      try (Socket client = new Socket(port.getAddress(), port.getPort())) {
        int flow = agent.await(PlayedAgent.Accept.class, accept -> true).flow();
        agent.accepted(flow, PlayedAgent.WINDOW);
        client.getOutputStream().write('x');
        assertEquals("x", agent.text(flow, 1));
      }
    }
  }

  @Test
  void withoutMemoryOutsideTheHeapThatOfTheHeapServes() throws Exception {
    LoopBuffers buffers =
        new LoopBuffers() {
          @Override
          ByteBuffer allocateDirect(int bytes) {
            throw new OutOfMemoryError("a fault of the test's");
          }
        };
    try (Served test = new Served(buffers, NetworkPolicy.internet())) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = test.accept()) {
        test.agent.data(flow, "x");
        assertEquals('x', peer.getInputStream().read());
        peer.getOutputStream().write(MEGABYTE);
        assertArrayEquals(MEGABYTE, test.agent.bytes(flow, MEGABYTE.length));
      }
    }
  }

  @Test
  void whatThereIsNoThreadToTellIsToldWithTheNext() {
    AtomicBoolean fails = new AtomicBoolean(true);
    List<NetworkEvent> told = new ArrayList<>();
    EventSink events =
        new EventSink(
            "sandbox",
            told::add,
            task -> {
              if (fails.getAndSet(false)) {
                throw new OutOfMemoryError("a fault of the test's");
              }
              task.run();
            });
    events.limit(Limit.FLOWS);
    assertEquals(List.of(), told);
    events.limit(Limit.MEMORY);
    assertEquals(
        List.of(Limit.FLOWS, Limit.MEMORY),
        told.stream().map(event -> ((LimitReached) event).limit()).toList());
  }

  @Test
  void aFaultAtAFrameEndsTheLinkAndAllThatIsOpen() throws Exception {
    try (ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
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
                NetworkPolicy.internet());
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
      // Once with, so that all classes are there; also those of what fails, and of limits.
      new EventSink("another", event -> {}, Runnable::run).limit(Limit.HOST_DESCRIPTORS);
      test.route(9, FreePort.find());
      test.agent.refusal(SERVER, 9);
      test.event(NetworkEvent.FlowFailed.class);
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
      assertEquals(2, test.network.statistics().failed());
    }
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "the shell limits what a process may map")
  void withoutAThreadALoopSaysSoAndStartsWhenThereIsOne(@TempDir Path directory) throws Exception {
    String said =
        Tool.run(
            directory,
            "sh",
            "-c",
            "ulimit -v $1; shift; \"$@\" 2>errors || { cat errors; exit 1; }",
            "sh",
            String.valueOf(LIMIT_KILOBYTES),
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx64m",
            "-Xss" + STACK_KILOBYTES + "k",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xlog:disable",
            "-cp",
            System.getProperty("java.class.path"),
            NetworkFaultTest.class.getName());
    assertEquals(
        "no thread is to be had for the network\nit runs\n",
        said,
        Files.readString(directory.resolve("errors")));
  }

  /** In a process that has room for some threads. */
  public static void main(String[] arguments) throws Exception {
    CountDownLatch end = new CountDownLatch(1);
    List<Thread> others = new ArrayList<>();
    try (NetworkLoop loop = new NetworkLoop("test-network")) {
      // Half a stack is left: a Java virtual machine that can map nothing dies.
      long more;
      while ((more = room() - STACK_KILOBYTES / 2) > 0) {
        CountDownLatch began = new CountDownLatch(1);
        Runnable task =
            () -> {
              began.countDown();
              Uninterruptibles.awaitUninterruptibly(end);
            };
        Thread other = new Thread(null, task, "other", Math.min(more, STACK_KILOBYTES) << 10);
        other.start();
        others.add(other);
        began.await();
      }
      try {
        loop.execute(() -> {});
      } catch (UncheckedIOException e) {
        System.out.println(e.getMessage());
      }
      end.countDown();
      for (Thread other : others) {
        other.join();
      }
      // Their stacks go some time after their ends.
      long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
      while (System.nanoTime() - limit < 0) {
        try {
          CompletableFuture.runAsync(() -> System.out.println("it runs"), loop).join();
          return;
        } catch (UncheckedIOException e) {
          Thread.sleep(1);
        }
      }
    }
  }

  /** How many kilobytes more this process may map. */
  private static long room() throws IOException {
    String size =
        Files.readAllLines(Path.of("/proc/self/status")).stream()
            .filter(line -> line.startsWith("VmSize:"))
            .findFirst()
            .orElseThrow();
    return LIMIT_KILOBYTES - Long.parseLong(size.replaceAll("[^0-9]", ""));
  }
}
