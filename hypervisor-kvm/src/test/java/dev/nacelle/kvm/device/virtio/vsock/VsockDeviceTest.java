// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import static dev.nacelle.kvm.device.virtio.vsock.Packet.CREDIT_REQUEST;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.CREDIT_UPDATE;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.REQUEST;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.RESPONSE;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.RST;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.RW;
import static dev.nacelle.kvm.device.virtio.vsock.Packet.SHUTDOWN;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestLostException;
import dev.nacelle.spi.VirtualMachine;
import java.io.IOException;
import java.net.ConnectException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The protocol of virtio 1.2 section 5.10, packet by packet. */
class VsockDeviceTest {
  private static final int HOST_PORT = 1024;
  private static final int GUEST_PORT = 5000;
  private static final int BUFFER = 4096;

  private final VsockGuest guest = new VsockGuest(64, BUFFER);
  private final VsockDevice device = guest.device;
  private final List<GuestConnection> accepted = new ArrayList<>();

  @AfterEach
  void close() {
    guest.close();
  }

  private GuestConnection acceptOne() {
    device.listen(HOST_PORT, accepted::add);
    guest.send(packet(REQUEST));
    assertOperation(RESPONSE);
    return accepted.get(0);
  }

  private GuestConnection connectOne() throws Exception {
    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    Packet request = assertOperation(REQUEST);
    guest.send(Packet.of(RESPONSE, GUEST_PORT, request.hostPort()));
    return future.getNow(null);
  }

  private static Packet packet(int operation) {
    return Packet.of(operation, GUEST_PORT, HOST_PORT);
  }

  private Packet assertOperation(int operation) {
    Packet received = guest.receive();
    assertNotNull(received, "the guest has received nothing");
    assertEquals(operation, received.operation());
    assertEquals(GUEST_PORT, received.guestPort());
    assertEquals(2, received.sourceCid());
    assertEquals(VsockGuest.CID, received.destinationCid());
    return received;
  }

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
  }

  private static String read(GuestConnection connection) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
    int n = connection.read(buffer);
    return n < 0 ? "end" : new String(buffer.array(), 0, n, StandardCharsets.UTF_8);
  }

  private static String failure(CompletableFuture<?> future) {
    assertTrue(future.isDone());
    ExecutionException failure = assertThrows(ExecutionException.class, future::get);
    return assertThrows(
            IOException.class,
            () -> {
              throw failure.getCause();
            })
        .getMessage();
  }

  private static boolean isRefusal(CompletableFuture<?> failed) {
    return assertThrows(ExecutionException.class, failed::get).getCause()
        instanceof ConnectException;
  }

  // ---- connecting

  @Test
  void acceptsAConnectionToAPortThatIsListenedTo() throws Exception {
    GuestConnection connection = acceptOne();
    assertEquals(GUEST_PORT, connection.guestPort());
    assertEquals(HOST_PORT, connection.hostPort());
    guest.send(packet(RW).withPayload((byte) 'h', (byte) 'i'));
    assertEquals("hi", read(connection));
    assertEquals("", read(connection));
    assertEquals(3, connection.write(text("you")));
    assertArrayEquals(text("you").array(), assertOperation(RW).payload());
  }

  @Test
  void refusesAConnectionToAnyOtherPort() {
    guest.send(packet(REQUEST));
    assertOperation(RST);
    VirtualMachine.Listener listener = device.listen(HOST_PORT, accepted::add);
    listener.close();
    guest.send(packet(REQUEST));
    assertOperation(RST);
    assertTrue(accepted.isEmpty());
  }

  @Test
  void connectsToAPortOfTheGuest() throws Exception {
    GuestConnection connection = connectOne();
    assertNotNull(connection);
    assertEquals(GUEST_PORT, connection.guestPort());
    connection.write(text("hello"));
    assertArrayEquals(text("hello").array(), assertOperation(RW).payload());
  }

  @Test
  void failsToConnectWhereTheGuestRefuses() {
    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    Packet request = assertOperation(REQUEST);
    guest.send(Packet.of(RST, GUEST_PORT, request.hostPort()));
    assertEquals("connecting to port 5000: the guest refused the connection", failure(future));
    assertTrue(isRefusal(future));
  }

  @Test
  void takesTheAnswerOfAGuestThatSaysAFewWordsAndLeaves() throws Exception {
    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    int hostPort = assertOperation(REQUEST).hostPort();
    guest.post(Packet.of(RESPONSE, GUEST_PORT, hostPort));
    guest.post(Packet.of(RW, GUEST_PORT, hostPort).withPayload((byte) 'x'));
    guest.post(Packet.of(SHUTDOWN, GUEST_PORT, hostPort).withFlags(3));
    guest.tx().kick();
    assertEquals("x", read(future.get()));
    assertEquals("end", read(future.get()));
    assertOperation(RST);
  }

  @Test
  void resetsAConnectThatIsCancelled() {
    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    assertOperation(REQUEST);
    future.cancel(false);
    assertOperation(RST);
  }

  @Test
  void usesAnotherPortForEachConnect() {
    device.connect(GUEST_PORT);
    device.connect(GUEST_PORT);
    assertFalse(assertOperation(REQUEST).hostPort() == assertOperation(REQUEST).hostPort());
  }

  @Test
  void connectsOnceTheDriverHasStarted() throws Exception {
    // A reset, as Linux' driver does it first, must not lose what the guest has not seen.
    guest.driver.write(0x70, 0);
    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    assertFalse(future.isDone());
    guest.start(1L << 32);
    guest.giveBuffers(4, BUFFER);
    Packet request = assertOperation(REQUEST);
    guest.send(Packet.of(RESPONSE, GUEST_PORT, request.hostPort()));
    assertNotNull(future.get());
  }

  @Test
  void resetsAConnectThatIsAnsweredWithSomethingElse() {
    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    Packet request = assertOperation(REQUEST);
    guest.send(Packet.of(RW, GUEST_PORT, request.hostPort()).withPayload((byte) 1));
    assertOperation(RST);
    assertTrue(failure(future).contains("answered a connect with operation 5"));
    assertFalse(isRefusal(future));
  }

  @Test
  void allowsOneListenerForAPort() {
    VirtualMachine.Listener first = device.listen(HOST_PORT, accepted::add);
    assertThrows(IllegalStateException.class, () -> device.listen(HOST_PORT, accepted::add));
    first.close();
    VirtualMachine.Listener second = device.listen(HOST_PORT, accepted::add);
    first.close();
    guest.send(packet(REQUEST));
    assertOperation(RESPONSE);
    second.close();
    assertThrows(IllegalArgumentException.class, () -> device.listen(-1, accepted::add));
  }

  @Test
  void closesAConnectionWhoseAcceptorFails() {
    device.listen(
        HOST_PORT,
        connection -> {
          throw new IllegalStateException("expected");
        });
    guest.send(packet(REQUEST));
    assertOperation(RESPONSE);
    assertOperation(RST);
  }

  // ---- packets that belong to nothing

  @Test
  void answersDataForNoConnectionWithAReset() {
    guest.send(packet(RW).withPayload((byte) 1));
    assertOperation(RST);
  }

  @Test
  void doesNotAnswerAResetForNoConnection() {
    guest.send(packet(RST));
    assertNull(guest.receive());
  }

  @Test
  void dropsPacketsWithAnotherSource() {
    device.listen(HOST_PORT, accepted::add);
    guest.send(packet(REQUEST).withCids(4, 2));
    guest.send(packet(REQUEST).withCids(VsockGuest.CID | 1L << 32, 2));
    assertNull(guest.receive());
    assertTrue(accepted.isEmpty());
  }

  @Test
  void refusesConnectionsToOtherMachinesInTheirName() {
    device.listen(HOST_PORT, accepted::add);
    guest.send(packet(REQUEST).withCids(VsockGuest.CID, 77));
    Packet reset = guest.receive();
    assertNotNull(reset);
    assertEquals(RST, reset.operation());
    assertEquals(77, reset.sourceCid());
    assertTrue(accepted.isEmpty());
  }

  @Test
  void refusesOtherSocketTypes() {
    device.listen(HOST_PORT, accepted::add);
    guest.send(packet(REQUEST).withType(2));
    assertEquals(2, assertOperation(RST).type());
    guest.send(packet(RST).withType(2));
    assertNull(guest.receive());
  }

  // ---- the rules of an established connection

  private void assertReset(Packet offence, String why) throws IOException {
    GuestConnection connection = acceptOne();
    guest.send(offence);
    assertOperation(RST);
    IOException failure = assertThrows(IOException.class, () -> connection.write(text("x")));
    assertTrue(failure.getMessage().contains(why), failure.getMessage());
    guest.send(packet(RW).withPayload((byte) 1));
    assertOperation(RST);
  }

  @Test
  void resetsAConnectionThatIsMadeTwice() throws Exception {
    assertReset(packet(REQUEST), "sent operation 1 on an established connection");
  }

  @Test
  void resetsAConnectionThatIsAnsweredTwice() throws Exception {
    assertReset(packet(RESPONSE), "accepted a connection twice");
  }

  @Test
  void resetsAConnectionForAnUnknownOperation() throws Exception {
    assertReset(packet(8), "sent operation 8");
  }

  @Test
  void resetsAConnectionForTheInvalidOperation() throws Exception {
    assertReset(packet(0), "sent operation 0");
  }

  @Test
  void resetsAConnectionThatAcknowledgesWhatWasNotSent() throws Exception {
    assertReset(packet(CREDIT_UPDATE).withCredit(1000, 1), "acknowledged more than was sent");
  }

  @Test
  void resetsAConnectionThatSendsBeyondItsCredit() throws Exception {
    assertReset(
        packet(RW).withPayload(new byte[ReceiveWindow.INITIAL_BYTES + 1]),
        "sent 16385 bytes with credit for 16384");
  }

  @Test
  void countsWhatIsUnreadAgainstTheCredit() throws Exception {
    GuestConnection connection = acceptOne();
    guest.send(packet(RW).withPayload(new byte[ReceiveWindow.INITIAL_BYTES]));
    assertNull(guest.receive());
    guest.send(packet(RW).withPayload((byte) 1));
    assertOperation(RST);
    assertEquals(ReceiveWindow.INITIAL_BYTES, connection.read(ByteBuffer.allocate(1 << 20)));
    assertThrows(IOException.class, () -> read(connection));
  }

  @Test
  void ignoresEmptyData() throws Exception {
    GuestConnection connection = acceptOne();
    guest.send(packet(RW));
    assertEquals("", read(connection));
  }

  // ---- credit

  @Test
  void tellsItsReceiveBufferAtOnce() {
    device.listen(HOST_PORT, accepted::add);
    guest.send(packet(REQUEST));
    Packet response = assertOperation(RESPONSE);
    assertEquals(ReceiveWindow.INITIAL_BYTES, response.bufferSize());
    assertEquals(0, response.forwarded());
  }

  @Test
  void returnsCreditAfterHalfOfTheBufferAndGrowsForAReaderThatKeepsUp() throws Exception {
    GuestConnection connection = acceptOne();
    int limit = ReceiveWindow.INITIAL_BYTES;
    int sent = 0;
    guest.send(packet(RW).withPayload(new byte[limit / 2 - 1]));
    sent += connection.read(ByteBuffer.allocate(limit));
    assertNull(guest.receive(), "less than half is not worth a packet");
    guest.send(packet(RW).withPayload((byte) 1));
    sent += connection.read(ByteBuffer.allocate(limit));
    Packet update = assertOperation(CREDIT_UPDATE);
    assertEquals(sent, update.forwarded());
    assertEquals(2 * limit, update.bufferSize());

    while (limit < ReceiveWindow.MAXIMUM_BYTES) {
      limit = update.bufferSize();
      for (int unread = 0; unread < limit / 2; unread += limit / 4) {
        assertNull(guest.receive());
        guest.send(packet(RW).withPayload(new byte[limit / 4]));
        sent += connection.read(ByteBuffer.allocate(limit));
      }
      update = assertOperation(CREDIT_UPDATE);
      assertEquals(sent, update.forwarded());
    }
    assertEquals(ReceiveWindow.MAXIMUM_BYTES, update.bufferSize());
  }

  @Test
  void doesNotGrowForAReaderThatFallsBehind() throws Exception {
    GuestConnection connection = acceptOne();
    int limit = ReceiveWindow.INITIAL_BYTES;
    guest.send(packet(RW).withPayload(new byte[limit]));
    connection.read(ByteBuffer.allocate(limit / 2));
    assertEquals(limit, assertOperation(CREDIT_UPDATE).bufferSize());
  }

  @Test
  void answersACreditRequest() {
    acceptOne();
    guest.send(packet(CREDIT_REQUEST));
    assertOperation(CREDIT_UPDATE);
  }

  @Test
  void writesNoMoreThanTheGuestHasRoomFor() throws Exception {
    device.listen(HOST_PORT, accepted::add);
    guest.send(packet(REQUEST).withCredit(10, 0));
    assertOperation(RESPONSE);
    GuestConnection connection = accepted.get(0);
    AtomicInteger events = new AtomicInteger();
    connection.setEventListener(events::incrementAndGet);
    guest.runTasks();
    events.set(0);

    ByteBuffer source = ByteBuffer.allocate(100);
    assertEquals(10, connection.write(source));
    assertEquals(10, assertOperation(RW).payload().length);
    assertOperation(CREDIT_REQUEST);
    assertEquals(0, connection.write(source));
    assertNull(guest.receive(), "the guest is asked once");

    assertEquals(0, events.get());
    guest.send(packet(CREDIT_UPDATE).withCredit(10, 4));
    assertEquals(1, events.get());
    assertEquals(4, connection.write(source));
    assertEquals(4, assertOperation(RW).payload().length);
  }

  @Test
  void writesSeveralBuffersInTheirOrderAndInterruptsOnce() throws Exception {
    // It wants an interrupt whenever a buffer comes back.
    try (VsockGuest eager = new VsockGuest(DriverFixture.VERSION_1)) {
      eager.giveBuffers(64, BUFFER);
      eager.device.listen(HOST_PORT, accepted::add);
      eager.send(packet(REQUEST));
      GuestConnection connection = accepted.get(0);
      assertEquals(RESPONSE, eager.receive().operation());
      eager.machine().takeInterrupts();
      ByteBuffer[] sources = {text("one"), text(""), text("two"), text("three")};
      assertEquals(6, connection.write(sources, 3));
      assertEquals(1, eager.machine().takeInterrupts());
      assertArrayEquals(text("one").array(), eager.receive().payload());
      assertArrayEquals(text("two").array(), eager.receive().payload());
      assertNull(eager.receive());
      assertEquals(5, sources[3].remaining());
      assertEquals(0, connection.write(sources, 3));
    }
  }

  @Test
  void writesOfSeveralBuffersWhatTheGuestHasRoomFor() throws Exception {
    device.listen(HOST_PORT, accepted::add);
    guest.send(packet(REQUEST).withCredit(10, 0));
    assertOperation(RESPONSE);
    GuestConnection connection = accepted.get(0);
    ByteBuffer[] sources = {text("1234567"), text("89abcde"), text("f")};
    assertEquals(10, connection.write(sources, 3));
    assertEquals(0, sources[0].remaining());
    assertEquals(4, sources[1].remaining());
    assertEquals(1, sources[2].remaining());
    guest.send(packet(SHUTDOWN).withFlags(1));
    assertThrows(IOException.class, () -> connection.write(sources, 3));
    connection.close();
    assertThrows(IOException.class, () -> connection.write(sources, 3));
  }

  /** Nobody would tell the writer of the room that its own call made. */
  @Test
  void writesAllWhenTheGuestGivesBuffersMeanwhile() throws Exception {
    try (VsockGuest slow = new VsockGuest(DriverFixture.VERSION_1 | DriverFixture.EVENT_IDX)) {
      slow.device.listen(HOST_PORT, accepted::add);
      slow.send(packet(REQUEST));
      GuestConnection connection = accepted.get(0);
      assertEquals(60_000, connection.write(ByteBuffer.allocate(60_000)), "kept by the device");

      slow.postBuffers(64, BUFFER);
      assertEquals(60_000, connection.write(ByteBuffer.allocate(60_000)));
    }
  }

  @Test
  void isNotConfusedByAnOldAcknowledgement() throws Exception {
    device.listen(HOST_PORT, accepted::add);
    guest.send(packet(REQUEST).withCredit(10, 0));
    GuestConnection connection = accepted.get(0);
    connection.write(ByteBuffer.allocate(10));
    guest.send(packet(CREDIT_UPDATE).withCredit(10, 10));
    guest.send(packet(CREDIT_UPDATE).withCredit(10, 4));
    assertEquals(10, connection.write(ByteBuffer.allocate(20)));
  }

  @Test
  void toleratesAGuestThatShrinksItsBuffer() throws Exception {
    GuestConnection connection = acceptOne();
    connection.write(ByteBuffer.allocate(1000));
    assertOperation(RW);
    guest.send(packet(CREDIT_UPDATE).withCredit(500, 0));
    assertEquals(0, connection.write(ByteBuffer.allocate(10)));
    assertOperation(CREDIT_REQUEST);
    guest.send(packet(CREDIT_UPDATE).withCredit(500, 501));
    assertEquals(1, connection.write(ByteBuffer.allocate(10)));
  }

  @Test
  void neverSendsMoreThan2GiBUnacknowledged() throws Exception {
    device.listen(HOST_PORT, accepted::add);
    guest.send(packet(REQUEST).withCredit(-1, 0));
    assertOperation(RESPONSE);
    assertEquals(100, accepted.get(0).write(ByteBuffer.allocate(100)));
  }

  // ---- a guest without receive buffers

  @Test
  void holdsAnswersForAGuestWithoutBuffersAndLosesNone() throws Exception {
    try (VsockGuest starved = new VsockGuest(1L << 32)) {
      starved.device.listen(HOST_PORT, accepted::add);
      starved.send(packet(REQUEST));
      starved.send(Packet.of(REQUEST, GUEST_PORT + 1, HOST_PORT + 1));
      GuestConnection connection = accepted.get(0);
      int taken = 0;
      ByteBuffer source = ByteBuffer.allocate(1 << 20);
      for (int n = connection.write(source); n > 0; n = connection.write(source)) {
        taken += n;
      }
      assertEquals(VsockConnection.SEND_BYTES, taken);
      assertNull(starved.receive());

      starved.giveBuffers(100, BUFFER);
      Packet reset = starved.receive();
      assertNotNull(reset);
      assertEquals(RST, reset.operation());
      assertEquals(GUEST_PORT + 1, reset.guestPort());
      Packet response = starved.receive();
      assertNotNull(response);
      assertEquals(RESPONSE, response.operation());
      int arrived = 0;
      for (Packet data = starved.receive(); data != null; data = starved.receive()) {
        assertEquals(RW, data.operation());
        arrived += data.payload().length;
      }
      assertEquals(taken, arrived);
      assertTrue(connection.write(source) > 0);
    }
  }

  @Test
  void stopsTakingPacketsFromAGuestThatTakesNoAnswers() {
    try (VsockGuest starved = new VsockGuest(1L << 32 | 1L << 29)) {
      for (int i = 0; i < 500; i++) {
        if (starved.tx().freeDescriptors() == 0) {
          break;
        }
        starved.send(Packet.of(RW, i, HOST_PORT));
      }
      assertEquals(128, starved.untaken(), "the guest's queue is full");
      starved.giveBuffers(128, BUFFER);
      int resets = 0;
      while (starved.receive() != null) {
        resets++;
      }
      assertEquals(256, resets);
      assertEquals(0, starved.untaken());
    }
  }

  @Test
  void keepsNothingOfConnectionsThatAGuestWithoutBuffersMakesAndBreaks() {
    try (VsockGuest starved = new VsockGuest(1L << 32 | 1L << 29)) {
      starved.device.listen(HOST_PORT, connection -> {});
      // One that stays, behind which the others would wait.
      starved.send(Packet.of(REQUEST, GUEST_PORT + 1, HOST_PORT));
      for (int i = 0; i < 100_000; i++) {
        starved.post(packet(REQUEST));
        starved.send(packet(RST));
      }
      assertEquals(0, starved.untaken());
      assertEquals(1, starved.device.countedConnections());
      assertEquals(1, starved.device.waitingConnections());
    }
  }

  @Test
  void keepsNothingOfConnectsThatAreCancelledBeforeTheDriverStarts() {
    guest.driver.write(0x70, 0);
    for (int i = 0; i < 100_000; i++) {
      device.connect(GUEST_PORT).cancel(false);
    }
    assertEquals(0, device.countedConnections());
    assertEquals(0, device.waitingConnections());
  }

  @Test
  void givesEachConnectionItsTurn() throws Exception {
    try (VsockGuest starved = new VsockGuest(1L << 32)) {
      starved.device.listen(HOST_PORT, accepted::add);
      for (int i = 0; i < 3; i++) {
        starved.send(Packet.of(REQUEST, i, HOST_PORT));
      }
      for (GuestConnection connection : accepted) {
        connection.write(ByteBuffer.allocate(40_000));
      }
      starved.giveBuffers(12, BUFFER);
      int[] data = new int[3];
      for (Packet p = starved.receiveKeeping(); p != null; p = starved.receiveKeeping()) {
        data[p.guestPort()] += p.operation() == RW ? 1 : 0;
      }
      assertArrayEquals(new int[] {3, 3, 3}, data);
    }
  }

  // ---- the end of a connection

  @Test
  void readsWhatCameBeforeTheGuestsEndOfOutput() throws Exception {
    GuestConnection connection = acceptOne();
    guest.send(packet(RW).withPayload((byte) 'a'));
    guest.send(packet(SHUTDOWN).withFlags(2));
    assertEquals("a", read(connection));
    assertEquals("end", read(connection));
    assertEquals(1, connection.write(text("b")), "the other direction is open");
    assertOperation(RW);
    guest.send(packet(RW).withPayload((byte) 'c'));
    assertOperation(RST);
  }

  @Test
  void writesNoMoreToAGuestThatReadsNoMore() throws Exception {
    GuestConnection connection = acceptOne();
    guest.send(packet(SHUTDOWN).withFlags(1));
    assertThrows(IOException.class, () -> connection.write(text("b")));
    guest.send(packet(RW).withPayload((byte) 'c'));
    assertEquals("c", read(connection));
  }

  @Test
  void answersTheGuestsCloseWithAResetAtOnceAndKeepsWhatItSent() throws Exception {
    GuestConnection connection = acceptOne();
    guest.send(packet(RW).withPayload((byte) 'a'));
    guest.send(packet(SHUTDOWN).withFlags(3));
    assertOperation(RST);
    assertEquals("a", read(connection));
    assertEquals("end", read(connection));
    assertThrows(IOException.class, () -> connection.write(text("b")));
    guest.send(packet(REQUEST));
    assertOperation(RESPONSE);
    assertEquals(2, accepted.size(), "the ports are free");
  }

  @Test
  void answersTheGuestsCloseInTwoSteps() {
    acceptOne();
    guest.send(packet(SHUTDOWN).withFlags(1));
    assertNull(guest.receive());
    guest.send(packet(SHUTDOWN).withFlags(2));
    assertOperation(RST);
  }

  @Test
  void endsItsOutputAfterWhatWasTaken() throws Exception {
    try (VsockGuest starved = new VsockGuest(1L << 32)) {
      starved.device.listen(HOST_PORT, accepted::add);
      starved.send(packet(REQUEST));
      GuestConnection connection = accepted.get(0);
      connection.write(text("x"));
      connection.shutdownOutput();
      connection.shutdownOutput();
      assertThrows(IOException.class, () -> connection.write(text("y")));
      starved.giveBuffers(10, BUFFER);
      List<Integer> operations = new ArrayList<>();
      for (Packet p = starved.receive(); p != null; p = starved.receive()) {
        operations.add(p.operation());
        assertEquals(p.operation() == SHUTDOWN ? 2 : 0, p.flags());
      }
      assertEquals(List.of(RESPONSE, RW, SHUTDOWN), operations);
      starved.send(packet(RW).withPayload((byte) 'z'));
      assertEquals("z", read(connection));
    }
  }

  @Test
  void closesWithAResetAfterWhatWasTaken() throws Exception {
    try (VsockGuest starved = new VsockGuest(1L << 32)) {
      starved.device.listen(HOST_PORT, accepted::add);
      starved.send(packet(REQUEST));
      GuestConnection connection = accepted.get(0);
      connection.write(text("x"));
      connection.close();
      connection.close();
      starved.giveBuffers(10, BUFFER);
      List<Integer> operations = new ArrayList<>();
      for (Packet p = starved.receive(); p != null; p = starved.receive()) {
        operations.add(p.operation());
      }
      assertEquals(List.of(RESPONSE, RW, RST), operations);
      assertThrows(IOException.class, () -> connection.read(ByteBuffer.allocate(1)));
      assertThrows(IOException.class, () -> connection.write(text("x")));
      assertThrows(IOException.class, connection::shutdownOutput);
    }
  }

  @Test
  void failsAfterTheGuestsReset() throws Exception {
    GuestConnection connection = acceptOne();
    guest.send(packet(RW).withPayload((byte) 'a'));
    guest.send(packet(RST));
    assertNull(guest.receive(), "a reset is not answered");
    assertEquals("a", read(connection));
    IOException failure = assertThrows(IOException.class, () -> read(connection));
    assertFalse(failure instanceof GuestLostException);
    assertEquals("the guest reset the connection", failure.getMessage());
    assertThrows(IOException.class, () -> connection.write(text("b")));
  }

  @Test
  void failsAfterTheDriversReset() throws Exception {
    GuestConnection connection = acceptOne();
    guest.driver.write(0x70, 0);
    assertThrows(GuestLostException.class, () -> read(connection));
    assertThrows(GuestLostException.class, () -> connection.write(text("b")));
    guest.start(1L << 32);
    guest.giveBuffers(4, BUFFER);
    guest.send(packet(REQUEST));
    assertOperation(RESPONSE);
  }

  @Test
  void failsAtTheEndOfTheMachine() throws Exception {
    GuestConnection connection = acceptOne();
    guest.send(packet(RW).withPayload((byte) 'a'));
    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    device.close();
    guest.runTasks();
    assertEquals("a", read(connection));
    IOException failure = assertThrows(GuestLostException.class, () -> read(connection));
    assertEquals("the virtual machine has ended", failure.getMessage());
    assertTrue(failure(future).contains("the virtual machine has ended"));
    assertTrue(failure(device.connect(1)).contains("the virtual machine has ended"));
    assertThrows(IllegalStateException.class, () -> device.listen(1, accepted::add));
  }

  // ---- events

  @Test
  void callsTheListenerOnceItIsSet() {
    GuestConnection connection = acceptOne();
    AtomicInteger events = new AtomicInteger();
    connection.setEventListener(events::incrementAndGet);
    guest.runTasks();
    assertEquals(1, events.get());
  }

  @Test
  void callsTheListenerWhereDataCameAfterAnEmptyRead() throws Exception {
    GuestConnection connection = acceptOne();
    AtomicInteger events = new AtomicInteger();
    connection.setEventListener(events::incrementAndGet);
    guest.runTasks();
    events.set(0);
    for (int i = 1; i <= 3; i++) {
      guest.send(packet(RW).withPayload((byte) 'a', (byte) 'b'));
      assertEquals(i, events.get());
      assertEquals("ab", read(connection));
    }
    guest.send(packet(SHUTDOWN).withFlags(2));
    assertEquals(4, events.get());
    guest.send(packet(RST));
    assertEquals(5, events.get());
  }

  @Test
  void letsTheListenerReadAndWrite() {
    device.listen(
        HOST_PORT,
        connection ->
            connection.setEventListener(
                () -> {
                  try {
                    ByteBuffer buffer = ByteBuffer.allocate(100);
                    if (connection.read(buffer) > 0) {
                      connection.write(buffer.flip());
                    }
                  } catch (IOException e) {
                    throw new AssertionError(e);
                  }
                }));
    guest.send(packet(REQUEST));
    assertOperation(RESPONSE);
    guest.send(packet(RW).withPayload((byte) 'e'));
    assertArrayEquals(new byte[] {'e'}, assertOperation(RW).payload());
  }

  @Test
  void callsTheNewListenerOnly() {
    GuestConnection connection = acceptOne();
    AtomicInteger first = new AtomicInteger();
    AtomicInteger second = new AtomicInteger();
    connection.setEventListener(first::incrementAndGet);
    connection.setEventListener(second::incrementAndGet);
    guest.runTasks();
    guest.send(packet(RW).withPayload((byte) 1));
    assertEquals(0, first.get());
    assertEquals(2, second.get());
  }

  // ---- limits

  @Test
  void holdsAThousandConnectionsAndRefusesTheOneTooMany() throws Exception {
    device.listen(HOST_PORT, accepted::add);
    for (int i = 0; i < VsockDevice.MAXIMUM_CONNECTIONS; i++) {
      guest.send(Packet.of(REQUEST, i, HOST_PORT));
      Packet response = guest.receive();
      assertNotNull(response);
      assertEquals(RESPONSE, response.operation());
    }
    guest.send(Packet.of(REQUEST, 70_000, HOST_PORT));
    Packet reset = guest.receive();
    assertNotNull(reset);
    assertEquals(RST, reset.operation());
    assertTrue(failure(device.connect(1)).contains("2048 connections are open already"));

    for (int i = 0; i < accepted.size(); i += 7) {
      guest.send(Packet.of(RW, i, HOST_PORT).withPayload((byte) i));
      ByteBuffer one = ByteBuffer.allocate(2);
      assertEquals(1, accepted.get(i).read(one));
      assertEquals((byte) i, one.get(0));
    }
    for (GuestConnection connection : accepted) {
      connection.close();
      assertNotNull(guest.receive());
    }
    guest.send(Packet.of(REQUEST, 70_000, HOST_PORT));
    Packet response = guest.receive();
    assertNotNull(response);
    assertEquals(RESPONSE, response.operation());
  }

  @Test
  void countsAClosedConnectionUntilItsDataIsRead() throws Exception {
    device.listen(HOST_PORT, accepted::add);
    for (int i = 0; i < VsockDevice.MAXIMUM_CONNECTIONS; i++) {
      guest.send(Packet.of(REQUEST, i, HOST_PORT));
      guest.send(Packet.of(RW, i, HOST_PORT).withPayload((byte) 1));
      guest.send(Packet.of(SHUTDOWN, i, HOST_PORT).withFlags(3));
      assertNotNull(guest.receive());
      assertNotNull(guest.receive());
    }
    guest.send(Packet.of(REQUEST, 0, HOST_PORT));
    assertEquals(RST, guest.receive().operation());
    read(accepted.get(5));
    guest.send(Packet.of(REQUEST, 0, HOST_PORT));
    assertEquals(RESPONSE, guest.receive().operation());
  }

  @Test
  void growsReceiveBuffersOnlyAsFarAsTheMemoryForAllGoes() throws Exception {
    device.listen(HOST_PORT, accepted::add);
    int growth = ReceiveWindow.MAXIMUM_BYTES - ReceiveWindow.INITIAL_BYTES;
    int many = VsockDevice.GROWTH_BYTES / growth + 10;
    long total = 0;
    for (int i = 0; i < many; i++) {
      guest.send(Packet.of(REQUEST, i, HOST_PORT));
      Packet last = guest.receive();
      for (int round = 0; round < 4; round++) {
        int window = Math.min(last.bufferSize(), 64 << 10);
        guest.send(Packet.of(RW, i, HOST_PORT).withPayload(new byte[window]));
        accepted.get(i).read(ByteBuffer.allocate(window));
        last = guest.receive();
        assertEquals(CREDIT_UPDATE, last.operation());
      }
      total += last.bufferSize();
    }
    assertTrue(total <= VsockDevice.GROWTH_BYTES + (long) many * ReceiveWindow.INITIAL_BYTES);
    assertTrue(total > VsockDevice.GROWTH_BYTES);
  }

  // ---- transport reset

  @Test
  void tellsTheGuestOfATransportResetAndHoldsPacketsUntilItKnows() throws Exception {
    GuestConnection connection = acceptOne();
    var buffer = guest.events().writable(4);
    var spare = guest.events().writable(4);
    guest.events().offer(buffer);
    guest.events().offer(spare);
    guest.events().kick();
    assertTrue(guest.events().take().isEmpty());

    guest.driver.memory().putInt(buffer.address(), -1);
    device.transportReset();
    assertEquals(4, guest.events().take().orElseThrow().written());
    assertEquals(0, guest.driver.memory().getInt(buffer.address()));
    assertThrows(IOException.class, () -> connection.write(text("x")));

    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    guest.send(packet(RW).withPayload((byte) 1));
    assertNull(guest.receive(), "the guest has not acknowledged");
    guest.events().offer(buffer);
    assertTrue(guest.events().kick());
    assertOperation(RST);
    assertOperation(REQUEST);
    assertFalse(future.isDone());
  }

  @Test
  void tellsOfATransportResetOnceTheGuestHasABufferForIt() {
    device.transportReset();
    var buffer = guest.events().writable(8);
    guest.events().offer(buffer);
    assertTrue(guest.events().kick());
    assertEquals(4, guest.events().take().orElseThrow().written());
    guest.events().offer(buffer);
    assertTrue(guest.events().kick());
    assertTrue(guest.events().take().isEmpty());
    device.connect(GUEST_PORT);
    assertOperation(REQUEST);
  }

  // ---- packets that are none

  private void sendBytes(byte[] bytes, int length) {
    guest.driver.memory().putBytes(BYTES, bytes, 0, bytes.length);
    guest.tx().offer(new Segment(BYTES, length, false));
    guest.tx().kick();
  }

  /** Below what the fixture allocates. */
  private static final long BYTES = 0x1000;

  private Map<String, Long> ignored() {
    Map<String, Long> counts = new HashMap<>();
    guest.transport.addIgnored(counts);
    return counts;
  }

  @Test
  void dropsAPacketThatIsShorterThanItsHeader() throws Exception {
    GuestConnection connection = acceptOne();
    sendBytes(packet(RST).encode(), 43);
    assertEquals("", read(connection));
    assertEquals(Map.of("virtio-vsock: a packet that is not as long as it says", 1L), ignored());
  }

  @Test
  void resetsAConnectionWhosePacketIsLongerThanItsBuffer() throws Exception {
    GuestConnection connection = acceptOne();
    byte[] bytes = packet(RW).withPayload(new byte[100]).encode();
    sendBytes(bytes, bytes.length - 1);
    assertOperation(RST);
    IOException failure = assertThrows(IOException.class, () -> read(connection));
    assertEquals(
        "the guest sent a packet with 100 bytes in a buffer that is too small for them",
        failure.getMessage());
    sendBytes(bytes, bytes.length - 1);
    assertOperation(RST);
  }

  @Test
  void takesAPacketWhoseBufferItCouldWriteTo() throws Exception {
    GuestConnection connection = acceptOne();
    byte[] bytes = packet(RW).withPayload((byte) 'a').encode();
    guest.driver.memory().putBytes(BYTES, bytes, 0, bytes.length);
    guest.tx().offer(new Segment(BYTES, bytes.length, false), new Segment(BYTES, 10, true));
    guest.tx().kick();
    assertEquals("a", read(connection));
    assertEquals(Map.of("virtio-vsock: a buffer of the other direction", 1L), ignored());
  }

  // ---- tasks

  @Test
  void hasOneTaskOfItsOwnForEachQueueHoweverOftenAGuestRings() {
    for (int turn = 0; turn < 2_000; turn++) {
      while (guest.tx().freeDescriptors() > 0) {
        guest.post(packet(RST));
      }
      for (int queue = 0; queue < 3; queue++) {
        guest.machine().ring(DriverFixture.QUEUE_NOTIFY, queue);
        guest.driver.write(DriverFixture.QUEUE_NOTIFY, queue);
      }
      guest.untaken();
      int waiting = guest.machine().waitingTasks();
      assertTrue(waiting <= 4, () -> waiting + " tasks: three queues, and users' events");
    }
  }

  // ---- a guest that neither takes nor answers

  private static final Duration PATIENCE = Duration.ofNanos(VsockDevice.PATIENCE_NANOS);

  @Test
  void givesThePlaceOfAClosedConnectionToAnotherWhereTheGuestDoesNotTakeItsLastBytes()
      throws Exception {
    try (VsockGuest starved = new VsockGuest(1L << 32)) {
      starved.device.listen(HOST_PORT, accepted::add);
      for (int i = 0; i < VsockDevice.MAXIMUM_CONNECTIONS; i++) {
        starved.send(Packet.of(REQUEST, i, HOST_PORT).withCredit(100, 0));
        assertEquals(11, accepted.get(i).write(text("never taken")));
        starved.send(Packet.of(CREDIT_UPDATE, i, HOST_PORT).withCredit(0, 0));
        accepted.get(i).close();
      }
      starved.giveBuffers(64, BUFFER);
      for (int i = 0; i < VsockDevice.MAXIMUM_CONNECTIONS; i++) {
        assertEquals(RESPONSE, starved.receive().operation());
      }
      assertNull(starved.receive());
      assertTrue(failure(starved.device.connect(1)).contains("2048 connections are open already"));

      starved.advance(PATIENCE.minusNanos(1));
      assertNull(starved.receive());
      starved.advance(Duration.ofNanos(1));
      for (int i = 0; i < VsockDevice.MAXIMUM_CONNECTIONS; i++) {
        assertEquals(RST, starved.receive().operation());
      }
      assertEquals(0, starved.device.countedConnections());
      starved.device.connect(GUEST_PORT);
      assertEquals(REQUEST, starved.receive().operation());
    }
  }

  @Test
  void forgetsConnectionsOfAGuestThatTakesNothingAtAll() throws Exception {
    try (VsockGuest starved = new VsockGuest(1L << 32)) {
      starved.device.listen(HOST_PORT, accepted::add);
      for (int i = 0; i < 10; i++) {
        starved.send(Packet.of(REQUEST, i, HOST_PORT));
        accepted.get(i).write(text("never taken"));
        accepted.get(i).close();
      }
      starved.send(Packet.of(REQUEST, 10, HOST_PORT));
      starved.send(Packet.of(SHUTDOWN, 10, HOST_PORT).withFlags(3));
      starved.advance(PATIENCE);
      assertEquals(10, starved.device.waitingConnections(), "each owes a reset");
      starved.advance(PATIENCE.plusSeconds(1));
      assertEquals(0, starved.device.countedConnections());
      assertEquals(0, starved.device.waitingConnections());
      assertEquals(0, starved.machine().setTimers());
      // A guest that still believes in one hears of its end when it speaks.
      starved.giveBuffers(4, BUFFER);
      starved.send(Packet.of(CREDIT_UPDATE, 3, HOST_PORT));
      assertEquals(RST, starved.receive().operation());
    }
  }

  @Test
  void givesUpAConnectThatTheGuestDoesNotAnswer() throws Exception {
    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    assertOperation(REQUEST);
    guest.advance(PATIENCE.minusNanos(1));
    assertFalse(future.isDone());
    guest.advance(Duration.ofNanos(1));
    assertEquals("connecting to port 5000: the guest has not answered in time", failure(future));
    assertOperation(RST);
    assertEquals(0, device.countedConnections());
  }

  @Test
  void waitsWithAConnectForAGuestThatHasNotSeenIt() {
    guest.driver.write(0x70, 0);
    CompletableFuture<GuestConnection> future = device.connect(GUEST_PORT);
    guest.advance(Duration.ofDays(1));
    assertFalse(future.isDone());
    guest.start(1L << 32);
    guest.giveBuffers(4, BUFFER);
    assertOperation(REQUEST);
  }

  @Test
  void hasAllTheTimeForConnectionsThatAreOpen() throws Exception {
    GuestConnection connected = connectOne();
    GuestConnection connection = acceptOne();
    connection.shutdownOutput();
    assertOperation(SHUTDOWN);
    guest.advance(Duration.ofDays(1));
    assertEquals("", read(connected));
    assertEquals("", read(connection));
    assertNull(guest.receive());
    assertEquals(0, guest.machine().setTimers());
  }

  @Test
  void looksForThoseOutOfTimeOnceASecondAtMost() throws Exception {
    for (int i = 0; i < 100; i++) {
      device.connect(GUEST_PORT);
      assertOperation(REQUEST);
      guest.advance(Duration.ofMillis(1));
    }
    guest.advance(PATIENCE.minusMillis(100));
    int resets = 0;
    while (guest.receive() != null) {
      resets++;
    }
    assertEquals(1, resets, "the first; the next look is a second later");
    guest.advance(Duration.ofSeconds(1));
    while (guest.receive() != null) {
      resets++;
    }
    assertEquals(100, resets);
  }

  // ---- errors

  @Test
  void endsTheMachineByAnErrorOfAUsersThreadWhichThatThreadSeesToo() throws Exception {
    try (VsockGuest busy = new VsockGuest(DriverFixture.VERSION_1)) {
      busy.giveBuffers(4, BUFFER);
      busy.device.listen(HOST_PORT, accepted::add);
      busy.send(packet(REQUEST));
      GuestConnection connection = accepted.get(0);
      OutOfMemoryError expected = new OutOfMemoryError("expected");
      busy.machine().failInterrupts(expected);
      assertSame(expected, assertThrows(OutOfMemoryError.class, () -> connection.write(text("x"))));
      assertSame(expected, assertThrows(OutOfMemoryError.class, busy::runTasks));
      assertThrows(IOException.class, () -> connection.write(text("x")));
    }
  }

  @Test
  void aPausedDeviceLeavesTheGuestsMemoryAlone() throws Exception {
    GuestConnection connection = acceptOne();
    guest.giveBuffers(4, BUFFER);
    guest.events().offer(guest.events().writable(4));
    byte[] before = guest.driver.bytes(0, (int) guest.driver.memory().size());
    device.pause();
    assertEquals(3, connection.write(text("abc")));
    CompletableFuture<GuestConnection> connecting = device.connect(GUEST_PORT);
    device.connect(GUEST_PORT).cancel(true);
    device.transportReset();
    guest.driver.ring(-1);
    assertArrayEquals(before, guest.driver.bytes(0, before.length));

    device.resume();
    guest.driver.ring(-1);
    assertEquals(4, guest.events().take().orElseThrow().written());
    assertFalse(connecting.isDone());
  }

  @Test
  void whatWasSaidInAPauseIsHeardAfterIt() throws Exception {
    GuestConnection connection = acceptOne();
    device.pause();
    assertEquals(3, connection.write(text("abc")));
    connection.shutdownOutput();
    guest.driver.ring(-1);
    assertNull(guest.receive());
    device.resume();
    guest.driver.ring(-1);
    assertArrayEquals("abc".getBytes(StandardCharsets.UTF_8), assertOperation(RW).payload());
    assertOperation(SHUTDOWN);
  }
}
