// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.kvm.device.virtio.LoopDeviceResources;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Large transfers in both directions at once, with the guest, the device's event loop and the
 * host's readers and writers each on threads of their own, asleep when there is nothing to do. The
 * limit is for a lost wake-up, which would make them sleep for good: it is no measure.
 */
@Timeout(value = 5, unit = TimeUnit.MINUTES)
class VsockTransferTest {
  private static final int CONNECTIONS = 4;
  private static final long BYTES = 16 << 20;
  private static final int PORT = 7;

  private final LoopDeviceResources resources = new LoopDeviceResources(VsockGuest.MEMORY);
  private final VsockGuest guest = new VsockGuest(resources, 1L << 32 | DriverFixture.EVENT_IDX);
  private final Map<Integer, CompletableFuture<HostSocket>> accepted = new ConcurrentHashMap<>();

  private CompletableFuture<HostSocket> accepted(int guestPort) {
    return accepted.computeIfAbsent(guestPort, port -> new CompletableFuture<>());
  }

  @Test
  void carriesManyMegabytesBothWays() throws Exception {
    guest.giveBuffers(64, 4096);
    guest.device.listen(
        PORT, connection -> accepted(connection.guestPort()).complete(new HostSocket(connection)));
    CompletableFuture<?>[] hosts = new CompletableFuture<?>[2 * CONNECTIONS];
    Map<Integer, GuestSocket> sockets = new HashMap<>();
    for (int port = 0; port < CONNECTIONS; port++) {
      GuestSocket socket = new GuestSocket(port, PORT, 256 << 10);
      sockets.put(port, socket);
      guest.send(socket.packet(Packet.REQUEST));
      CompletableFuture<HostSocket> host = accepted(port);
      hosts[2 * port] = inThread("host-writer-" + port, () -> writeAll(host.get()));
      hosts[2 * port + 1] = inThread("host-reader-" + port, () -> readAll(host.get()));
    }

    CompletableFuture<Void> all = CompletableFuture.allOf(hosts);
    // Not the future that this returns: it is done only after the interrupt.
    CompletableFuture<?> interrupted =
        all.whenComplete((done, failure) -> resources.interruptSpuriously());
    while (!all.isDone() || !sockets.values().stream().allMatch(s -> s.hostEndedOutput)) {
      if (!guestWorks(sockets)) {
        if (all.isCompletedExceptionally()) {
          break;
        }
        guest.rx().requestInterrupt();
        guest.tx().requestInterrupt();
        if (guest.rx().untaken() == 0 && guest.tx().untaken() == 0) {
          resources.awaitInterrupt();
        }
      }
    }
    interrupted.get();

    for (GuestSocket socket : sockets.values()) {
      assertEquals(BYTES, socket.received);
      HostSocket host = accepted(socket.guestPort).get();
      assertEquals(BYTES, host.received);
      assertTrue(host.ended);
    }
    resources.closeLoop();
    guest.close();
    assertEquals(List.of(), resources.failures());
  }

  /** What a kernel and its programs do when there is an interrupt; false when there was nothing. */
  private boolean guestWorks(Map<Integer, GuestSocket> sockets) {
    boolean worked = false;
    for (Packet packet = guest.receive(); packet != null; packet = guest.receive()) {
      GuestSocket socket = sockets.get(packet.guestPort());
      assertNotNull(socket);
      socket.receive(packet);
      worked = true;
    }
    worked |= guest.tx().untaken() > 0;
    int untaken = guest.untaken();
    for (GuestSocket socket : sockets.values()) {
      if (socket.read(Integer.MAX_VALUE) && untaken++ < 100) {
        guest.send(socket.packet(Packet.CREDIT_UPDATE));
        worked = true;
      }
      int length = (int) Math.min(Math.min(socket.credit(), BYTES - socket.sent), 60_000);
      if (length > 0 && untaken++ < 100) {
        guest.send(socket.data(length));
        worked = true;
      } else if (socket.sent == BYTES && !socket.endedOutput) {
        guest.send(socket.packet(Packet.SHUTDOWN).withFlags(2));
        socket.endedOutput = true;
        worked = true;
      }
    }
    return worked;
  }

  private static void writeAll(HostSocket host) throws InterruptedException {
    while (host.sent < BYTES) {
      int seen = host.events;
      int most = (int) Math.min(BYTES - host.sent, 50_000);
      if (host.write(most) < most) {
        assertTrue(!host.writeFailed);
        host.awaitEventAfter(seen);
      }
    }
    host.endOutput();
  }

  private static void readAll(HostSocket host) throws InterruptedException {
    while (!host.ended) {
      int seen = host.events;
      if (host.read(50_000) == 0) {
        host.awaitEventAfter(seen);
      }
      assertTrue(!host.readFailed);
    }
  }

  private interface Work {
    void run() throws Exception;
  }

  private static CompletableFuture<Void> inThread(String name, Work work) {
    CompletableFuture<Void> done = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                work.run();
                done.complete(null);
              } catch (Throwable e) {
                done.completeExceptionally(e);
              }
            },
            name);
    thread.setDaemon(true);
    thread.start();
    return done;
  }
}
