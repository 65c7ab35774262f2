// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.TestNetwork.SERVER;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The stream of frames with a guest that takes as much as the test says. */
@Timeout(60)
class GuestLinkTest {
  /** For content that the guest has not taken. */
  private static final int ROOM = LoopBuffers.SENT_BYTES - (64 << 10);

  private final NetworkLoop loop = new NetworkLoop("test-link");
  private final Guest guest = new Guest();
  private ServerSocket server;
  private HostNetwork network;

  /** What a connection's guest sends and takes. */
  private static final class Guest implements GuestConnection {
    private final Queue<ByteBuffer> sent = new ArrayDeque<>();
    private long takes = Long.MAX_VALUE;
    private boolean broken;
    private boolean faulty;
    private int writes;
    private Runnable listener = () -> {};

    synchronized void send(Consumer<ByteBuffer> frames) {
      ByteBuffer bytes = ByteBuffer.allocate(64 << 10);
      frames.accept(bytes);
      sent.add(bytes.flip());
    }

    synchronized void takes(long bytes) {
      takes = bytes;
    }

    synchronized void breaks() {
      broken = true;
    }

    /** Fails as nothing of the guest's makes it. */
    synchronized void faults() {
      faulty = true;
    }

    synchronized int writes() {
      return writes;
    }

    void happens() {
      Runnable told;
      synchronized (this) {
        told = listener;
      }
      told.run();
    }

    @Override
    public synchronized int read(ByteBuffer destination) {
      ByteBuffer first = sent.poll();
      if (first == null) {
        return 0;
      }
      int count = first.remaining();
      destination.put(first);
      return count;
    }

    @Override
    public synchronized int write(ByteBuffer source) throws IOException {
      writes++;
      if (faulty) {
        throw new IllegalStateException("a fault of the test's");
      }
      if (broken) {
        throw new IOException("it is reset");
      }
      int count = (int) Math.min(takes, source.remaining());
      source.position(source.position() + count);
      takes -= count;
      return count;
    }

    @Override
    public void shutdownOutput() {}

    @Override
    public void setEventListener(Runnable told) {
      synchronized (this) {
        listener = told;
      }
      told.run();
    }

    @Override
    public int guestPort() {
      return 1;
    }

    @Override
    public int hostPort() {
      return HostNetwork.PORT;
    }

    @Override
    public void close() {}
  }

  @BeforeEach
  void begin() throws IOException {
    server = new ServerSocket(0, 200, InetAddress.getLoopbackAddress());
    InetSocketAddress address =
        new InetSocketAddress(server.getInetAddress(), server.getLocalPort());
    network =
        TestNetwork.host(
            loop,
            TestNetwork.surroundings(true, unused -> address),
            NetworkPolicy.internet(),
            new Publisher(List.of()));
    network.accept(guest);
  }

  @AfterEach
  void end() throws IOException {
    network.close();
    loop.close();
    server.close();
  }

  private static void putHello(ByteBuffer out) {
    Frames.putHello(out, new Frames.Hello(Frames.MAX_DATA, 1 << 20, 1 << 20, 1, 2));
  }

  private static void putOpen(ByteBuffer out, int flow) {
    Ip address = AddressClassTest.ip(SERVER);
    Frames.putOpen(out, Frames.OPEN, flow, false, 0, address.low(), 7, 40_000 + flow, 1 << 20);
  }

  /** The loop has done what was to be done. */
  private void settle() {
    CompletableFuture.runAsync(() -> {}, loop).join();
  }

  private void awaitReceived(long bytes) throws InterruptedException {
    while (network.statistics().received() < bytes) {
      Thread.sleep(1);
    }
  }

  @Test
  void aGuestThatStallsHalfwayIsWaitedForInPeace() throws Exception {
    guest.send(
        out -> {
          putHello(out);
          putOpen(out, 1);
        });
    guest.happens();
    try (Socket peer = server.accept()) {
      while (network.statistics().opened() == 0) {
        Thread.sleep(1);
      }
      guest.takes(0);
      Thread feeder =
          new Thread(
              () -> {
                try {
                  peer.getOutputStream().write(new byte[8 << 20]);
                } catch (IOException e) {
                  // The test has ended.
                }
              });
      feeder.setDaemon(true);
      feeder.start();
      // Until all that there is room for waits, but for what frames themselves take of it.
      awaitReceived(ROOM - (16 << 10));
      guest.takes(150_000);
      guest.happens();
      awaitReceived(ROOM - (16 << 10) + 150_000);
      settle();
      int writes = guest.writes();
      Thread.sleep(300);
      assertTrue(guest.writes() - writes < 10, () -> guest.writes() - writes + " writes in vain");
    }
  }

  @Test
  void whatWasReadWithTheLinksEndIsNotDialled() throws Exception {
    guest.send(GuestLinkTest::putHello);
    guest.happens();
    while (guest.writes() == 0) {
      Thread.sleep(1);
    }
    guest.breaks();
    guest.send(
        out -> {
          for (int i = 0; i < 100; i++) {
            putOpen(out, 2 * i + 1);
          }
        });
    guest.happens();
    while (network.statistics().opened() + network.statistics().failed() == 0) {
      Thread.sleep(1);
    }
    settle();
    assertEquals(0, network.statistics().openFlows());
  }

  @Test
  void aFaultAtWritingEndsTheLinkAndAllThatIsOpen() throws Exception {
    guest.send(
        out -> {
          putHello(out);
          putOpen(out, 1);
        });
    guest.happens();
    try (Socket peer = server.accept()) {
      while (network.statistics().opened() == 0) {
        Thread.sleep(1);
      }
      // Something waits, which is written when the guest is told to take more.
      guest.takes(0);
      peer.getOutputStream().write('x');
      while (network.statistics().received() == 0) {
        Thread.sleep(1);
      }
      guest.faults();
      guest.happens();
      TestNetwork.assertReset(peer);
    }
    assertEquals(0, network.statistics().openFlows());
    // The loop serves others.
    settle();
  }
}
