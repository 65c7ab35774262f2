// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import static dev.nacelle.kvm.device.virtio.vsock.Packet.CREDIT_REQUEST;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.CREDIT_UPDATE;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.REQUEST;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.RESPONSE;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.RST;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.RW;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.SHUTDOWN;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.RateLimit;
import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A socket with limits, by the guest's and the host's count of packets and bytes. */
class VsockRateLimitTest {
  private static final int PORT = 1024;
  private static final Duration SECOND = Duration.ofSeconds(1);

  private final List<GuestConnection> accepted = new ArrayList<>();
  private VsockGuest guest = new VsockGuest(DriverFixture.VERSION_1);

  @AfterEach
  void close() {
    guest.close();
  }

  /** A guest with as many connections, which have cost what their requests cost. */
  private void start(RateLimit limit, int connections) {
    guest.close();
    guest = new VsockGuest(DriverFixture.VERSION_1 | DriverFixture.EVENT_IDX, limit);
    guest.giveBuffers(64, 4096);
    guest.device.listen(PORT, accepted::add);
    for (int i = 0; i < connections; i++) {
      guest.send(Packet.of(REQUEST, i, PORT));
      assertOperation(RESPONSE, i);
    }
  }

  private Packet assertOperation(int operation, int guestPort) {
    Packet packet = guest.receive();
    assertNotNull(packet, "the guest has received nothing");
    assertEquals(operation, packet.operation());
    assertEquals(guestPort, packet.guestPort());
    return packet;
  }

  private static Packet data(int guestPort, int bytes) {
    return Packet.of(RW, guestPort, PORT).withPayload(new byte[bytes]);
  }

  private int readAll(int connection) throws IOException {
    return accepted.get(connection).read(ByteBuffer.allocate(1 << 20));
  }

  // ---- from the guest

  @Test
  void takesAsManyPacketsFromTheGuestAsTheLimitHasOperationsFor() throws Exception {
    start(RateLimit.operations(2, 4), 1);
    for (int i = 0; i < 10; i++) {
      guest.send(data(0, 1));
    }
    assertEquals(3, readAll(0), "and the request before them");
    assertEquals(7, guest.untaken());
    guest.advance(SECOND);
    assertEquals(2, readAll(0));
    guest.advance(SECOND.multipliedBy(3));
    assertEquals(5, readAll(0));
    assertEquals(0, guest.untaken());
  }

  @Test
  void takesAsManyBytesFromTheGuestAsTheLimitHas() throws Exception {
    start(RateLimit.bytes(DataSize.bytes(1000), DataSize.bytes(2500)), 1);
    for (int i = 0; i < 5; i++) {
      guest.send(data(0, 1000));
    }
    assertEquals(2000, readAll(0));
    guest.advance(SECOND);
    assertEquals(1000, readAll(0));
    guest.advance(SECOND.multipliedBy(2));
    assertEquals(2000, readAll(0));
  }

  @Test
  void takesAPacketThatIsLargerThanTheBurstWhenThatIsFull() throws Exception {
    start(RateLimit.bytes(DataSize.bytes(1000), DataSize.bytes(1000)), 1);
    guest.send(data(0, 3000));
    guest.send(data(0, 1));
    assertEquals(3000, readAll(0));
    guest.advance(SECOND.multipliedBy(2));
    assertEquals(0, readAll(0));
    guest.advance(Duration.ofMillis(1));
    assertEquals(1, readAll(0));
  }

  @Test
  void sendsToAGuestThatMustWaitItself() throws Exception {
    start(RateLimit.operations(1), 1);
    guest.send(data(0, 1));
    assertEquals(0, readAll(0));
    accepted.get(0).write(ByteBuffer.allocate(5));
    assertEquals(5, assertOperation(RW, 0).payload().length);
  }

  @Test
  void losesNothingOfWhatWaits() throws Exception {
    start(RateLimit.operations(1), 1);
    guest.send(data(0, 10));
    guest.send(Packet.of(SHUTDOWN, 0, PORT).withFlags(3));
    guest.send(data(0, 10));
    guest.advance(SECOND.multipliedBy(3));
    assertOperation(RST, 0);
    assertOperation(RST, 0);
    assertEquals(10, readAll(0));
    assertEquals(-1, readAll(0));
  }

  // ---- to the guest

  private int received(int guestPort) {
    int bytes = 0;
    for (Packet packet = guest.receive(); packet != null; packet = guest.receive()) {
      if (packet.guestPort() == guestPort) {
        bytes += packet.payload().length;
      }
    }
    return bytes;
  }

  @Test
  void sendsAsManyBytesAsTheLimitHasInPiecesOfTheBurst() throws Exception {
    start(RateLimit.bytes(DataSize.bytes(1000), DataSize.bytes(2500)), 1);
    assertEquals(10_000, accepted.get(0).write(ByteBuffer.allocate(10_000)), "kept by the device");
    assertEquals(2500, received(0));
    guest.advance(SECOND);
    assertEquals(0, received(0), "a piece is as large as the burst where there is so much");
    guest.advance(Duration.ofMillis(1500));
    assertEquals(2500, received(0));
    guest.advance(SECOND.multipliedBy(5));
    assertEquals(5000, received(0));
    assertEquals(0, guest.machine().setTimers());
  }

  @Test
  void sendsAsManyPacketsOfDataAsTheLimitHasOperationsFor() throws Exception {
    start(RateLimit.operations(2, 3), 1);
    for (int i = 0; i < 3; i++) {
      assertEquals(7, accepted.get(0).write(ByteBuffer.allocate(7)));
    }
    assertEquals(21, received(0));
    assertEquals(7, accepted.get(0).write(ByteBuffer.allocate(7)));
    assertEquals(7, accepted.get(0).write(ByteBuffer.allocate(7)));
    assertEquals(0, received(0));
    guest.advance(Duration.ofMillis(500));
    assertEquals(14, received(0), "what waits goes as one packet");
  }

  @Test
  void doesNotHoldBackWhatCarriesNoData() throws Exception {
    start(RateLimit.bytes(DataSize.bytes(1), DataSize.bytes(1)), 2);
    accepted.get(0).write(ByteBuffer.allocate(100));
    assertEquals(1, assertOperation(RW, 0).payload().length);
    guest.send(Packet.of(CREDIT_REQUEST, 0, PORT));
    assertOperation(CREDIT_UPDATE, 0);
    accepted.get(1).write(ByteBuffer.allocate(100));
    accepted.get(1).shutdownOutput();
    assertNull(guest.receive(), "not before what was written before");
    guest.send(Packet.of(REQUEST, 7, PORT));
    assertOperation(RESPONSE, 7);
    guest.send(Packet.of(RW, 8, PORT));
    assertOperation(RST, 8);
    accepted.get(2).close();
    assertOperation(RST, 7);
    assertEquals(2, guest.device.heldConnections());
    guest.send(Packet.of(RST, 1, PORT));
    assertEquals(1, guest.device.heldConnections());
  }

  @Test
  void givesEachConnectionItsTurnAlsoWhereTheyWait() throws Exception {
    start(RateLimit.bytes(DataSize.bytes(1_000_000), DataSize.bytes(1000)), 3);
    for (GuestConnection connection : accepted) {
      connection.write(ByteBuffer.allocate(40_000));
    }
    List<Integer> turns = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      for (Packet packet = guest.receive(); packet != null; packet = guest.receive()) {
        turns.add(packet.guestPort());
      }
      guest.advance(Duration.ofMillis(1));
    }
    assertEquals(List.of(0, 0, 1, 2, 0, 1, 2, 0, 1), turns, "the first when it was alone, too");
  }

  @Test
  void tellsAWriterWhenThereIsRoomAgain() throws Exception {
    start(RateLimit.bytes(DataSize.bytes(VsockConnection.SEND_BYTES)), 1);
    GuestConnection connection = accepted.get(0);
    AtomicInteger events = new AtomicInteger();
    connection.setEventListener(events::incrementAndGet);
    guest.runTasks();
    events.set(0);
    ByteBuffer source = ByteBuffer.allocate(1 << 20);
    int taken = connection.write(source);
    int sent = received(0);
    assertEquals(sent + VsockConnection.SEND_BYTES, taken, "the device keeps some");
    assertTrue(sent <= VsockConnection.SEND_BYTES, "the burst");
    assertEquals(0, events.get());
    guest.advance(SECOND);
    assertEquals(1, events.get());
  }

  @Test
  void givesTheGuestAllTheTimeThatTheLimitTakes() throws Exception {
    start(RateLimit.bytes(DataSize.bytes(100), DataSize.bytes(100)), 1);
    accepted.get(0).write(ByteBuffer.allocate(10_000));
    accepted.get(0).close();
    for (int seconds = 0; seconds < 100; seconds++) {
      assertEquals(100, assertOperation(RW, 0).payload().length);
      guest.advance(SECOND);
    }
    assertOperation(RST, 0);
    assertEquals(0, guest.device.countedConnections());
    assertThrows(IOException.class, () -> readAll(0));
  }
}
