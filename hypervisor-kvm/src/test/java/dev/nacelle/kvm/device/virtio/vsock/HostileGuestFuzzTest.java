// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.DataSize;
import dev.nacelle.RateLimit;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.virtio.DriverQueue;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A guest that does anything at all with its queues and its packets, while a program of the host
 * uses the same device: nothing but a {@link GuestFault} comes out, at the doorbell, and what the
 * host holds stays bounded.
 *
 * <p>To search for more: {@code JAZZER_FUZZ=1 mvn test -Djazzer.hooks=true
 * -Dtest=HostileGuestFuzzTest}.
 */
class HostileGuestFuzzTest {
  private static final int MOST_OPERATIONS = 2_000;
  private static final int PORT = 80;

  /** The fuzzer's bytes as decisions; zeros behind the end. */
  private static final class Choices {
    private final ByteBuffer bytes;

    Choices(byte[] bytes) {
      this.bytes = ByteBuffer.wrap(bytes);
    }

    boolean left() {
      return bytes.hasRemaining();
    }

    int next8() {
      return bytes.hasRemaining() ? Byte.toUnsignedInt(bytes.get()) : 0;
    }

    int next16() {
      return next8() | next8() << 8;
    }

    int next32() {
      return next16() | next16() << 16;
    }

    long next64() {
      return Integer.toUnsignedLong(next32()) | (long) next32() << 32;
    }

    int below(int bound) {
      return next8() % bound;
    }

    /** Mostly a small number, sometimes any. */
    int number() {
      return below(4) == 0 ? next32() : next8();
    }
  }

  @FuzzTest
  void nothingButAFaultComesOut(byte[] input) {
    Choices choices = new Choices(input);
    long features =
        1L << 32 | (choices.below(2) == 0 ? 0 : 1L << 29) | (choices.below(2) == 0 ? 0 : 1L << 28);
    RateLimit limit =
        choices.below(4) == 0
            ? RateLimit.bytes(DataSize.bytes(1 + choices.next16())).andOperations(100, 5)
            : null;
    try (VsockGuest guest = new VsockGuest(features, limit)) {
      Play play = new Play(guest, choices);
      for (int i = 0; choices.left() && i < MOST_OPERATIONS && !play.faulted; i++) {
        play.operation();
        assertBounded(guest.device);
      }
      play.hostGoesOn();
    }
  }

  private static void assertBounded(VsockDevice device) {
    int counted = device.countedConnections();
    assertTrue(counted <= VsockDevice.MAXIMUM_CONNECTIONS, () -> counted + " connections");
    int waiting = device.waitingConnections();
    assertTrue(waiting <= counted, () -> waiting + " of " + counted + " connections wait");
    int held = device.heldConnections();
    assertTrue(held <= counted, () -> held + " of " + counted + " connections are held");
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
  void nothingButAFaultComesOutOfNoise(int seed) {
    byte[] noise = new byte[20_000];
    new Random(seed).nextBytes(noise);
    nothingButAFaultComesOut(noise);
  }

  private static final class Play {
    private final VsockGuest guest;
    private final Choices choices;
    private final List<GuestConnection> connections = new ArrayList<>();
    private final ByteBuffer buffer = ByteBuffer.allocate(8192);
    private final boolean breaksRings;
    private boolean faulted;

    Play(VsockGuest guest, Choices choices) {
      this.guest = guest;
      this.choices = choices;
      // A guest that does soon ends by it; one that does not gets further with its packets.
      breaksRings = choices.below(2) == 0;
      guest.device.listen(PORT, connections::add);
    }

    void operation() {
      try {
        switch (choices.below(16) + (breaksRings ? 0 : 3)) {
          case 0 -> corruptDescriptor();
          case 1 -> corruptRing();
          case 2 -> writeRegister();
          case 3 -> guest.driver.ring(choices.below(3));
          case 4, 5 -> giveBuffers();
          case 6 -> receive();
          case 7 -> {
            guest.runTasks();
            guest.advance(Duration.ofMillis(choices.next16()));
          }
          case 8, 9, 10 -> useConnection();
          default -> sendPacket();
        }
      } catch (GuestFault e) {
        assertTrue(String.valueOf(e.getMessage()).startsWith("virtio-vsock"), e::getMessage);
        faulted = true;
      }
    }

    private DriverQueue queue() {
      return switch (choices.below(3)) {
        case 0 -> guest.rx();
        case 1 -> guest.tx();
        default -> guest.events();
      };
    }

    private void corruptDescriptor() {
      DriverQueue queue = queue();
      queue.putDescriptor(
          choices.below(queue.size()),
          choices.below(2) == 0 ? choices.next64() : choices.next16(),
          choices.number(),
          choices.below(8),
          choices.next8());
    }

    private void corruptRing() {
      DriverQueue queue = queue();
      switch (choices.below(3)) {
        case 0 -> queue.publish(choices.below(2 * queue.size()));
        case 1 -> queue.publishIndex(choices.number());
        default -> {
          GuestMemory memory = guest.driver.memory();
          memory.putShort(queue.available() + 2L * choices.next8(), (short) choices.next16());
        }
      }
    }

    private void giveBuffers() {
      int count = Math.min(choices.below(8), guest.rx().freeDescriptors());
      int bytes = choices.below(4) == 0 ? 1 + choices.next8() : 4096;
      if (guest.hasMemoryFor((long) count * bytes)) {
        guest.giveBuffers(count, bytes);
      }
    }

    private void sendPacket() {
      if (guest.tx().freeDescriptors() == 0) {
        guest.driver.ring(VsockGuest.TX);
        return;
      }
      int hostPort = PORT;
      int guestPort = choices.below(4);
      if (choices.below(4) == 0 && !connections.isEmpty()) {
        GuestConnection connection = connections.get(choices.below(connections.size()));
        hostPort = connection.hostPort();
        guestPort = connection.guestPort();
      } else if (choices.below(16) == 0) {
        hostPort = 0x4000_0000 + choices.below(4);
      }
      Packet packet =
          Packet.of(choices.below(9), guestPort, hostPort)
              .withFlags(choices.below(4))
              .withCredit(choices.number(), choices.number());
      if (choices.below(32) == 0) {
        packet = packet.withType(choices.next16());
      }
      if (choices.below(32) == 0) {
        packet = packet.withCids(choices.number(), choices.number());
      }
      if (packet.operation() == Packet.RW || choices.below(8) == 0) {
        packet = packet.withPayload(new byte[choices.next16() % 20_000]);
      }
      Packet posted = packet;
      if (driverCopes(() -> guest.post(posted))) {
        guest.tx().kick();
      }
    }

    /** Runs what only the test's own driver does: where its rings are broken it may give up. */
    private boolean driverCopes(Runnable work) {
      try {
        work.run();
        return true;
      } catch (RuntimeException e) {
        faulted = true;
        return false;
      }
    }

    private void receive() {
      if (driverCopes(guest::receiveKeeping)) {
        guest.returnBuffers(1);
      }
    }

    private void writeRegister() {
      guest.driver.write(choices.next8() & ~3, choices.number());
    }

    private void useConnection() {
      if (choices.below(4) == 0) {
        if (connections.size() < 100) {
          CompletableFuture<Void> ignored =
              guest.device.connect(choices.below(4)).thenAccept(connections::add);
        }
        return;
      }
      if (!connections.isEmpty()) {
        use(connections.get(choices.below(connections.size())), choices.below(6));
      }
    }

    private void use(GuestConnection connection, int how) {
      try {
        buffer.clear().limit(choices.next16() % buffer.capacity());
        switch (how) {
          case 0, 1 -> {
            int n = connection.read(buffer);
            assertTrue(n >= -1 && n <= buffer.capacity());
          }
          case 2, 3 -> {
            int n = connection.write(buffer);
            assertTrue(n >= 0 && n <= buffer.capacity());
          }
          case 4 -> connection.shutdownOutput();
          default -> connection.close();
        }
      } catch (IOException e) {
        // What the guest did to this connection; the others go on.
        return;
      }
    }

    /** The host's programs must not see anything but an end of their connections. */
    void hostGoesOn() {
      for (GuestConnection connection : connections) {
        for (int how = 0; how < 6; how++) {
          use(connection, how);
        }
      }
      try {
        guest.runTasks();
      } catch (GuestFault e) {
        faulted = true;
      }
    }
  }
}
