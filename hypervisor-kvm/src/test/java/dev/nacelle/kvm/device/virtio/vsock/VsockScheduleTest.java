// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.RateLimit;
import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.spi.GuestConnection;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Many connections under random schedules, with a guest that keeps the rules but is as slow, as
 * greedy and as stingy with buffers as chance has it. Every byte is checked, no side ever exceeds
 * its credit, and nothing waits for an event that does not come.
 */
class VsockScheduleTest {
  private static final int STEPS = 8_000;

  /** Goes by between two steps; short, so that nobody runs out of time by their number. */
  private static final Duration MOMENT = Duration.ofNanos(100_000);

  private static final int MOST_SOCKETS = 24;
  private static final int LISTENED_PORT = 80;
  private static final int RX_BUFFERS = 16;
  private static final int[] BUFFER_SIZES = {1, 100, 4096, 65_536, 262_144};

  /** One run. */
  private static final class Run implements AutoCloseable {
    private final Random random;
    private final VsockGuest guest;
    private final Map<Long, GuestSocket> guestSockets = new HashMap<>();
    private final Map<Long, HostSocket> hostSockets = new HashMap<>();

    /** Pairs of sockets whose ports are not used any more. */
    private int finished;

    private int nextGuestPort = 1;
    private long bytes;

    Run(long seed, @Nullable RateLimit limit) {
      random = new Random(seed);
      guest = new VsockGuest(seed % 2 == 0 ? 1L << 32 : 1L << 32 | DriverFixture.EVENT_IDX, limit);
      guest.giveBuffers(RX_BUFFERS, 45 + random.nextInt(5000));
      guest.device.listen(LISTENED_PORT, this::opened);
    }

    private static long key(int hostPort, int guestPort) {
      return (long) hostPort << 32 | guestPort;
    }

    private void opened(GuestConnection connection) {
      hostSockets.put(
          key(connection.hostPort(), connection.guestPort()), new HostSocket(connection));
    }

    private GuestSocket newGuestSocket(int guestPort, int hostPort) {
      GuestSocket socket =
          new GuestSocket(guestPort, hostPort, BUFFER_SIZES[random.nextInt(BUFFER_SIZES.length)]);
      guestSockets.put(key(hostPort, guestPort), socket);
      return socket;
    }

    private <T> T any(Map<Long, T> sockets) {
      List<T> all = new ArrayList<>(sockets.values());
      return all.get(random.nextInt(all.size()));
    }

    void step() {
      guest.advance(MOMENT);
      int action = random.nextInt(100);
      if (guestSockets.isEmpty() || (action < 6 && guestSockets.size() < MOST_SOCKETS)) {
        connect();
      } else if (action < 40) {
        guestStep(action, any(guestSockets));
      } else if (action < 70 && !hostSockets.isEmpty()) {
        hostStep(action, any(hostSockets));
      } else if (action < 80) {
        receive(1 + random.nextInt(4));
      } else if (action < 90) {
        guest.returnBuffers(random.nextInt(4));
      } else if (action < 95) {
        guest.tx().kick();
      } else {
        guest.runTasks();
      }
    }

    private void connect() {
      int port = nextGuestPort++;
      if (random.nextBoolean()) {
        post(newGuestSocket(port, LISTENED_PORT).packet(Packet.REQUEST));
      } else {
        guest.device.connect(port).thenAccept(this::opened);
      }
    }

    private void guestStep(int action, GuestSocket socket) {
      if (action < 22) {
        int length = Math.min(socket.credit(), 1 + random.nextInt(20_000));
        if (length > 0) {
          post(socket.data(length));
        }
      } else if (action < 37) {
        guestReads(socket, 1 + random.nextInt(20_000));
      } else if (action < 38 && socket.established && !socket.closed && !socket.endedOutput) {
        socket.endedOutput = true;
        post(socket.packet(Packet.SHUTDOWN).withFlags(2));
      } else if (action < 39 && socket.established && !socket.closed && !socket.reset) {
        socket.closed = true;
        post(socket.packet(Packet.SHUTDOWN).withFlags(3));
      } else if (socket.established && !socket.closed) {
        post(socket.packet(Packet.CREDIT_REQUEST));
      }
    }

    private void guestReads(GuestSocket socket, int most) {
      if (socket.established && socket.read(most) && !socket.closed && !socket.reset) {
        post(socket.packet(Packet.CREDIT_UPDATE));
      }
    }

    private void hostStep(int action, HostSocket socket) {
      if (socket.closed) {
        return;
      }
      if (action < 55) {
        if (socket.mayWrite && !socket.endedOutput) {
          socket.write(1 + random.nextInt(60_000));
        }
      } else if (action < 68) {
        if (socket.mayRead && !socket.ended) {
          socket.read(1 + random.nextInt(60_000));
        }
      } else if (action < 69) {
        socket.endOutput();
      } else if (random.nextInt(3) == 0) {
        socket.close();
      }
    }

    private void post(Packet packet) {
      if (guest.tx().freeDescriptors() == 0) {
        guest.tx().kick();
      }
      guest.post(packet);
      if (random.nextInt(3) == 0) {
        guest.tx().kick();
      }
    }

    private boolean receive(int most) {
      boolean any = false;
      for (int i = 0; i < most; i++) {
        Packet packet = guest.receiveKeeping();
        if (packet == null) {
          break;
        }
        any = true;
        bytes += packet.payload().length;
        if (packet.operation() == Packet.REQUEST) {
          GuestSocket socket = newGuestSocket(packet.guestPort(), packet.hostPort());
          socket.receive(packet.operation() == Packet.REQUEST ? asCredit(packet) : packet);
          socket.established = true;
          post(socket.packet(Packet.RESPONSE));
        } else {
          GuestSocket socket = guestSockets.get(key(packet.hostPort(), packet.guestPort()));
          assertTrue(socket != null, () -> "a packet to nobody: " + packet);
          if (!socket.closed) {
            socket.receive(packet);
          } else {
            socket.reset |= packet.operation() == Packet.RST;
          }
        }
      }
      return any;
    }

    private static Packet asCredit(Packet request) {
      return Packet.of(Packet.CREDIT_UPDATE, request.guestPort(), request.hostPort())
          .withCredit(request.bufferSize(), request.forwarded());
    }

    /** Lets both sides go on, relying on events and credit alone, until there is nothing to do. */
    void drain() {
      boolean progress = true;
      while (progress) {
        progress = false;
        guest.advance(MOMENT);
        guest.tx().kick();
        guest.runTasks();
        progress |= receive(Integer.MAX_VALUE);
        progress |= guest.untaken() > 0 || guest.device.heldConnections() > 0;
        guest.returnBuffers(Integer.MAX_VALUE);
        for (GuestSocket socket : guestSockets.values()) {
          progress |= socket.read < socket.received;
          guestReads(socket, Integer.MAX_VALUE);
        }
        for (HostSocket socket : hostSockets.values()) {
          while (!socket.closed && socket.mayRead && !socket.ended && !socket.readFailed) {
            progress |= socket.read(Integer.MAX_VALUE) > 0;
          }
        }
      }
    }

    void check() {
      assertEquals(0, guest.untaken());
      for (GuestSocket guestSocket : guestSockets.values()) {
        String name = guestSocket.hostPort + " to " + guestSocket.guestPort;
        HostSocket hostSocket = hostSockets.get(key(guestSocket.hostPort, guestSocket.guestPort));
        assertTrue(hostSocket != null, name);
        if (!hostSocket.closed) {
          assertEquals(guestSocket.sent, hostSocket.received, name);
          assertEquals(guestSocket.endedOutput || guestSocket.closed, hostSocket.ended, name);
        }
        if (!guestSocket.closed) {
          assertEquals(hostSocket.sent, guestSocket.received, name);
          assertEquals(hostSocket.closed, guestSocket.reset, name);
          if (!hostSocket.closed) {
            assertEquals(hostSocket.endedOutput, guestSocket.hostEndedOutput, name);
          }
        } else {
          assertTrue(guestSocket.reset, name + " waits for the answer to its close");
        }
        if (!hostSocket.closed && !guestSocket.closed && !hostSocket.endedOutput) {
          assertTrue(hostSocket.mayWrite, name + " waits for an event to write again");
        }
      }
    }

    void forgetFinished() {
      int before = guestSockets.size();
      guestSockets.values().removeIf(socket -> socket.reset);
      finished += before - guestSockets.size();
      hostSockets
          .entrySet()
          .removeIf(
              entry -> {
                if (guestSockets.containsKey(entry.getKey())) {
                  return false;
                }
                entry.getValue().close();
                return true;
              });
    }

    @Override
    public void close() {
      guest.close();
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void keepsEveryStreamWhole(long seed) {
    assertWhole(seed, null);
  }

  /** With little at once, so that most of it waits, and each moment some more. */
  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4})
  void keepsEveryStreamWholeThatIsHeldBack(long seed) {
    assertWhole(
        seed,
        RateLimit.bytes(DataSize.bytes(100_000_000), DataSize.bytes(5_000))
            .andOperations(1_000_000, 20));
  }

  private static void assertWhole(long seed, @Nullable RateLimit limit) {
    try (Run run = new Run(seed, limit)) {
      for (int step = 1; step <= STEPS; step++) {
        run.step();
        if (step % (STEPS / 8) == 0) {
          run.drain();
          run.check();
          run.forgetFinished();
        }
      }
      assertTrue(run.finished > 10 && run.bytes > 1 << 20, "too little to mean anything");
    }
  }
}
