// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.HostileGuestTest.FAST;
import static dev.nacelle.net.HostileGuestTest.STORM;
import static dev.nacelle.net.HostileGuestTest.putOpen;
import static dev.nacelle.net.HostileGuestTest.storm;
import static dev.nacelle.net.HostileGuestTest.sync;
import static dev.nacelle.net.TestNetwork.SERVER;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkEvent.LimitReached;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.Rate;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/**
 * What a guest's flows cost this process when there are as many as there may be: its heap, memory
 * outside of it, and descriptors, in a process where nothing else is.
 */
@Timeout(120)
@EnabledOnOs(value = OS.LINUX, disabledReason = "descriptors are counted in /proc")
class HostileGuestMemoryTest {
  /** As many as there may be, and may be on their way. */
  private static final int FLOWS = 1024;

  private static final int PENDING = 128;

  /** What a network may have for what receivers do not take, and a flow's share at least. */
  private static final int MEMORY = 16 << 20;

  private static final int LEAST_WINDOW = 32 << 10;

  /** Of as many flows, and of their servers' sockets, for those are this process's, too. */
  private static final int HEAP_OF_FLOWS = FLOWS * (4 << 10);

  /** Outside the heap: what a loop has for one sandbox, and Java for each of the threads here. */
  private static final int DIRECT = 1 << 20;

  @Test
  void aThousandFlowsTakeNoMoreThanIsStated() {
    Tool.run(
        Path.of("/"),
        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "-Xmx128m",
        // Else the collector leaves gaps, which count as used.
        "-XX:+UseSerialGC",
        "-XX:MarkSweepAlwaysCompactCount=1",
        "-XX:TieredStopAtLevel=1",
        "-Dnacelle.opens=" + HostileGuestTest.STORM,
        "-cp",
        System.getProperty("java.class.path"),
        HostileGuestMemoryTest.class.getName());
  }

  /** In a process of its own. */
  public static void main(String[] arguments) throws Exception {
    // Classes, and what is open for them, are there before anything is counted.
    try (TestNetwork test = new TestNetwork(FAST);
        Servers servers = new Servers(test, 1)) {
      open(test, 1, 1);
      servers.awaitStalled();
    }
    endManyConnections();
    takeNothing();
    sendWhatNobodyTakes();
  }

  /**
   * What this process has of what a guest could have it use up.
   *
   * @param heap in bytes, once what nobody has was collected
   * @param direct memory of buffers outside of it, in bytes
   */
  private record Used(long heap, long direct, long descriptors) {
    static Used now() throws IOException {
      System.gc();
      long direct =
          ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream()
              .filter(pool -> pool.getName().equals("direct"))
              .mapToLong(BufferPoolMXBean::getMemoryUsed)
              .sum();
      long heap = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
      return new Used(heap, direct, HostileGuestTest.descriptors());
    }

    /** There is no more of it now than was then, but for so much. */
    void assertAtMost(String when, int moreHeap, int moreDirect, int moreDescriptors)
        throws Exception {
      HostileGuestTest.assertDescriptors(descriptors + moreDescriptors);
      Used now = now();
      String told = when + ": " + now + ", before " + this;
      assertTrue(now.heap - heap <= moreHeap, told);
      assertTrue(now.direct - direct <= moreDirect, told);
    }
  }

  private static void endManyConnections() throws Exception {
    Used before = Used.now();
    try (TestNetwork test = new TestNetwork(FAST);
        Servers servers = new Servers(test, 0)) {
      test.agent.forgetOthers();
      ByteBuffer out = ByteBuffer.allocate(64 << 10);
      int first = 1;
      for (int done = 0; done < STORM / 10; done += FLOWS) {
        int from = first;
        open(test, from, FLOWS);
        // Half of them are shut down before; what comes of those that have ended is ignored.
        storm(
            test,
            FLOWS,
            i -> {
              int flow = from + 2 * i;
              if (i % 2 == 0) {
                Frames.putFin(out, flow);
              }
              Frames.putReset(out, flow, Reset.ABORTED);
              Frames.putFin(out, flow);
              Frames.putReset(out, flow, Reset.ABORTED);
              Frames.putFin(out, flow - 2 * FLOWS > 0 ? flow - 2 * FLOWS : flow);
            },
            out);
        sync(test);
        first += 2 * FLOWS;
        assertEquals(0, test.network.statistics().openFlows());
      }
      assertEquals(first / 2, test.network.statistics().opened());
      assertEquals(0, test.network.statistics().linksLost());
      servers.awaitNone();
      before.assertAtMost("after the storm", HEAP_OF_FLOWS, DIRECT, 50);
    }
  }

  private static void takeNothing() throws Exception {
    Used before = Used.now();
    try (TestNetwork test = new TestNetwork(FAST);
        Servers servers = new Servers(test, PlayedAgent.WINDOW + (64 << 10))) {
      test.agent.forgetOthers();
      test.agent.pause();
      open(test, 1, FLOWS);
      // It takes nothing of its link at all; servers have as much as they can get rid of.
      servers.awaitStalled();
      before.assertAtMost("with a guest that does not read", HEAP_OF_FLOWS, DIRECT, 2 * FLOWS + 50);
      test.agent.goOn();
      // Now it takes what the flows' windows have, and gives no more.
      long windows = (long) FLOWS * PlayedAgent.WINDOW;
      awaitReceived(test, windows);
      servers.awaitStalled();
      sync(test);
      assertEquals(windows, test.network.statistics().received());
      assertEquals(FLOWS, test.network.statistics().openFlows());
      before.assertAtMost("with full windows", HEAP_OF_FLOWS, DIRECT, 2 * FLOWS + 50);
    }
    before.assertAtMost("after all", 2 << 20, DIRECT, 50);
  }

  private static void sendWhatNobodyTakes() throws Exception {
    NetworkPolicy held =
        FAST.toBuilder()
            .limits(FAST.limits().toBuilder().egress(Rate.perSecond(1)).build())
            .build();
    Used before = Used.now();
    try (TestNetwork test = new TestNetwork(held, new NetworkMemory(8 * MEMORY));
        Servers servers = new Servers(test, 0)) {
      test.agent.forgetOthers();
      open(test, 1, FLOWS);
      byte[] part = new byte[LEAST_WINDOW];
      for (int i = 0; i < FLOWS; i++) {
        test.agent.data(2 * i + 1, part);
      }
      sync(test);
      assertTrue(test.memory.used() <= MEMORY, () -> test.memory.used() + " bytes");
      assertTrue(test.memory.used() > MEMORY - LEAST_WINDOW, () -> test.memory.used() + " bytes");
      before.assertAtMost("of what was sent", MEMORY + HEAP_OF_FLOWS, DIRECT, 2 * FLOWS + 50);
      // Those for which there was none have ended.
      int left = test.network.statistics().openFlows();
      assertTrue(left <= MEMORY / LEAST_WINDOW && left > 0, () -> left + " flows");
      assertEquals(Limit.MEMORY, test.event(LimitReached.class).limit());
      assertEquals(0, test.network.statistics().linksLost());
    }
    before.assertAtMost("after all", 2 << 20, DIRECT, 50);
  }

  /** Opens so many flows, from that number on, which are open when this returns. */
  private static void open(TestNetwork test, int first, int count) throws InterruptedException {
    Ip address = AddressClassTest.ip(SERVER);
    ByteBuffer out = ByteBuffer.allocate(64 << 10);
    long opened = test.network.statistics().opened();
    for (int i = 0; i < count; i += PENDING) {
      int from = i;
      int some = Math.min(PENDING, count - i);
      storm(test, some, j -> putOpen(out, first + 2 * (from + j), address), out);
      await(() -> test.network.statistics().opened() == opened + from + some);
    }
  }

  private static void awaitReceived(TestNetwork test, long count) throws InterruptedException {
    await(() -> test.network.statistics().received() >= count);
  }

  private static void await(BooleanSupplier what) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!what.getAsBoolean()) {
      assertTrue(System.nanoTime() - end < 0, "it does not come");
      Thread.sleep(1);
    }
  }

  /**
   * Servers that send what they can of so many bytes each, take what comes, and end when their
   * clients do. On a thread of its own.
   */
  private static final class Servers implements AutoCloseable {
    private final int each;
    private final ServerSocketChannel server = ServerSocketChannel.open();
    private final Selector selector = Selector.open();
    private final ByteBuffer content = ByteBuffer.allocate(64 << 10);
    private final AtomicInteger open = new AtomicInteger();
    private final AtomicLong sent = new AtomicLong();
    private final Thread thread = new Thread(this::serve, "test-servers");
    private volatile boolean closed;

    Servers(TestNetwork test, int each) throws IOException {
      this.each = each;
      server.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 2 * PENDING);
      server.configureBlocking(false);
      server.register(selector, SelectionKey.OP_ACCEPT);
      test.route(7, server.socket().getLocalPort());
      thread.setDaemon(true);
      thread.start();
    }

    private void serve() {
      try {
        while (!closed) {
          selector.select(this::ready);
        }
        for (SelectionKey key : selector.keys()) {
          key.channel().close();
        }
        selector.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private void ready(SelectionKey key) {
      try {
        if (key.isAcceptable()) {
          SocketChannel peer = server.accept();
          peer.configureBlocking(false);
          int operations = SelectionKey.OP_READ | (each > 0 ? SelectionKey.OP_WRITE : 0);
          peer.register(selector, operations, new AtomicInteger(each));
          open.incrementAndGet();
        } else if (!exchange(key)) {
          end(key);
        }
      } catch (IOException e) {
        end(key);
      }
    }

    private boolean exchange(SelectionKey key) throws IOException {
      SocketChannel peer = (SocketChannel) key.channel();
      if (key.isWritable()) {
        AtomicInteger left = (AtomicInteger) key.attachment();
        int count = peer.write(content.clear().limit(Math.min(content.capacity(), left.get())));
        sent.addAndGet(count);
        if (left.addAndGet(-count) == 0) {
          key.interestOps(SelectionKey.OP_READ);
        }
      }
      return !key.isReadable() || peer.read(content.clear()) >= 0;
    }

    private void end(SelectionKey key) {
      Sockets.close(key.channel());
      open.decrementAndGet();
    }

    /** Waits until they get rid of nothing more. */
    void awaitStalled() throws InterruptedException {
      long before;
      do {
        before = sent.get();
        Thread.sleep(200);
      } while (sent.get() > before);
    }

    void awaitNone() throws InterruptedException {
      await(() -> open.get() == 0);
    }

    @Override
    public void close() throws IOException, InterruptedException {
      closed = true;
      selector.wakeup();
      thread.join();
    }
  }
}
