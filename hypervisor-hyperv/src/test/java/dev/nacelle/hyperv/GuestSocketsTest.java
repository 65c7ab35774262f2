// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.hyperv.sys.StandIn;
import dev.nacelle.spi.BlockingConnection;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.MachineThread;
import dev.nacelle.spi.VirtualMachine.Listener;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Over the stand-in for Winsock, where the guest's side is of the same class. */
@Timeout(120)
class GuestSocketsTest {
  private static final int PORT = 1024;

  private GuestSockets host;
  private GuestSockets guest;

  @BeforeEach
  void open() throws Exception {
    StandIn.reset();
    open(GuestSockets.MOST);
  }

  private void open(int most) throws Exception {
    UUID vm = UUID.randomUUID();
    host = new GuestSockets("host", vm, most);
    guest = new GuestSockets("guest", vm, most);
    host.started();
    guest.started();
  }

  private void close() {
    host.close();
    guest.close();
  }

  @AfterEach
  void nothingIsLeft() throws Exception {
    close();
    StandIn.requireNothingLeft();
    assertEquals(List.of(), machineThreads());
  }

  private static List<Thread> machineThreads() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(MachineThread.class::isInstance)
        .toList();
  }

  /** Two ends of a connection. */
  private record Pair(BlockingConnection host, BlockingConnection guest) {}

  /** The guest connects. */
  private Pair connected() throws Exception {
    BlockingQueue<GuestConnection> accepted = new LinkedBlockingQueue<>();
    try (Listener listener = host.listen(PORT, accepted::add)) {
      GuestConnection connection = guest.connect(PORT).get();
      return new Pair(new BlockingConnection(accepted.take()), new BlockingConnection(connection));
    }
  }

  private static byte[] random(int length) {
    byte[] bytes = new byte[length];
    new Random(length).nextBytes(bytes);
    return bytes;
  }

  private static CompletableFuture<Void> writeAndEnd(BlockingConnection to, byte[] bytes) {
    return CompletableFuture.runAsync(
        () -> {
          try {
            to.write(bytes);
            to.connection().shutdownOutput();
          } catch (IOException | InterruptedException e) {
            throw new IllegalStateException(e);
          }
        });
  }

  private static void assertEnded(GuestConnection connection) {
    assertThrows(IOException.class, () -> connection.read(ByteBuffer.allocate(1)));
    assertThrows(IOException.class, () -> connection.write(ByteBuffer.allocate(1)));
  }

  /** Returns when the listener has been called, whatever it is called for. */
  private static void awaitEvent(GuestConnection connection) throws InterruptedException {
    CountDownLatch called = new CountDownLatch(1);
    connection.setEventListener(called::countDown);
    called.await();
  }

  @Test
  void bytesGoBothWaysAtOnceAndEachWayEndsByItself() throws Exception {
    Pair pair = connected();
    byte[] down = random(3 << 20);
    byte[] up = random(2 << 20);
    CompletableFuture<Void> toGuest = writeAndEnd(pair.host, down);
    CompletableFuture<Void> toHost = writeAndEnd(pair.guest, up);
    CompletableFuture<byte[]> read =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return pair.guest.readAll();
              } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
              }
            });
    assertArrayEquals(up, pair.host.readAll());
    assertArrayEquals(down, read.get());
    toGuest.get();
    toHost.get();
    assertEquals(-1, pair.host.read(ByteBuffer.allocate(1)));
    pair.host.connection().shutdownOutput();
    assertThrows(IOException.class, () -> pair.host.write(new byte[1]));
  }

  @Test
  void memoryOutsideOfTheHeapIsUsedAsItIs() throws Exception {
    Pair pair = connected();
    byte[] bytes = random(100_000);
    ByteBuffer source = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
    ByteBuffer received = ByteBuffer.allocateDirect(bytes.length);
    while (received.hasRemaining()) {
      if (source.hasRemaining()) {
        int written = pair.guest.connection().write(source.asReadOnlyBuffer());
        source.position(source.position() + written);
      }
      assertTrue(pair.host.read(received) > 0);
    }
    byte[] read = new byte[bytes.length];
    received.flip().get(read);
    assertArrayEquals(bytes, read);
    assertEquals(0, pair.host.connection().read(ByteBuffer.allocate(0)));
  }

  @Test
  void resetIsToldToWhoWrites() throws Exception {
    Pair pair = connected();
    // What it has not read is lost to who wrote it: a reset.
    pair.host.write(random(10));
    pair.guest.connection().close();
    GuestConnection connection = pair.host.connection();
    IOException e =
        assertThrows(
            IOException.class,
            () -> {
              while (true) {
                awaitEvent(connection);
                connection.write(ByteBuffer.allocate(1));
              }
            });
    assertTrue(e.getMessage().contains("WSAECONN"), e::getMessage);
    connection.close();
  }

  @Test
  void hostConnectsToTheGuest() throws Exception {
    BlockingQueue<GuestConnection> accepted = new LinkedBlockingQueue<>();
    try (Listener listener = guest.listen(PORT, accepted::add)) {
      BlockingConnection connection = new BlockingConnection(host.connect(PORT).get());
      assertEquals(PORT, connection.connection().guestPort());
      connection.write("hello\n".getBytes(US_ASCII));
      BlockingConnection other = new BlockingConnection(accepted.take());
      assertEquals(PORT, other.connection().hostPort());
      assertEquals(0x12345678, other.connection().guestPort());
      assertEquals("hello", other.readLine());
    }
  }

  @Test
  void connectWaitsForAGuestThatIsNotUp() throws Exception {
    CompletableFuture<GuestConnection> connecting = host.connect(PORT);
    CompletableFuture<GuestConnection> cancelled = host.connect(PORT + 1);
    // The first attempts are refused.
    Thread.sleep(250);
    assertFalse(connecting.isDone());
    assertTrue(cancelled.cancel(true));
    try (Listener listener = guest.listen(PORT, GuestConnection::close);
        Listener other = guest.listen(PORT + 1, GuestConnection::close)) {
      connecting.get().close();
    }
  }

  @Test
  void guestIsNotAskedBeforeItRuns() throws Exception {
    UUID vm = UUID.randomUUID();
    BlockingQueue<GuestConnection> accepted = new LinkedBlockingQueue<>();
    try (GuestSockets own = new GuestSockets("own", vm);
        GuestSockets itsGuest = new GuestSockets("its-guest", vm);
        Listener listener = itsGuest.listen(PORT, accepted::add)) {
      CompletableFuture<GuestConnection> connecting = own.connect(PORT);
      // What its guest does goes through one loop after the other.
      assertEquals(0, accepted.size());
      assertFalse(connecting.isDone());
      own.started();
      connecting.get();
      accepted.take();
    }
  }

  @Test
  void guestThatIsUpRefuses() throws Exception {
    connected();
    ExecutionException e =
        assertThrows(ExecutionException.class, () -> host.connect(PORT + 1).get());
    assertInstanceOf(ConnectException.class, e.getCause());
    assertTrue(e.getMessage().contains("connecting to port 1025: "), e::getMessage);
  }

  /** What the engine knows to be perhaps the machine's end, see VirtualMachine.connect. */
  @Test
  void guestThatDoesNotAnswerIsToldAsASocketsFailure() throws Exception {
    connected();
    try (ServerSocket machines = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      StandIn.bootMachinesAt("127.0.0.1:" + machines.getLocalPort());
      CompletableFuture<GuestConnection> connecting = host.connect(PORT);
      try (Socket asked = machines.accept()) {
        asked.getOutputStream().write("10060\n".getBytes(US_ASCII)); // WSAETIMEDOUT
        ExecutionException e = assertThrows(ExecutionException.class, connecting::get);
        assertEquals(SocketException.class, e.getCause().getClass());
        assertEquals(
            "connecting to port 1024: connect: the machine does not answer (WSAETIMEDOUT)",
            e.getCause().getMessage());
      }
    } finally {
      StandIn.bootMachinesAt(null);
    }
  }

  @Test
  void closedListenerLeavesItsPortFreeAndItsConnectionsOpen() throws Exception {
    Pair early = connected();
    assertInstanceOf(
        ConnectException.class,
        assertThrows(ExecutionException.class, () -> guest.connect(PORT).get()).getCause());
    Listener listener = host.listen(PORT, connection -> {});
    assertThrows(IllegalStateException.class, () -> host.listen(PORT, connection -> {}));
    listener.close();
    listener.close();
    Listener next = host.listen(PORT, connection -> {});
    listener.close(); // of no effect on the other
    assertThrows(IllegalStateException.class, () -> host.listen(PORT, connection -> {}));
    next.close();
    early.guest.write("still here\n".getBytes(US_ASCII));
    assertEquals("still here", early.host.readLine());
  }

  @Test
  void portThatSomebodyElseListensOnIsTaken() {
    try (Listener listener = host.listen(PORT, connection -> {})) {
      IllegalStateException e =
          assertThrows(
              IllegalStateException.class, () -> guest.listen(PORT, connection -> {}).close());
      assertEquals("port 1024 is being listened to already", e.getMessage());
    }
    assertThrows(IllegalArgumentException.class, () -> host.listen(-1, connection -> {}).close());
    assertThrows(IllegalArgumentException.class, () -> host.connect(-1));
  }

  @Test
  void moreThanAnEventWaitTakesAreOpenAtOnceOnOneThread() throws Exception {
    List<Pair> pairs = new ArrayList<>();
    Set<Integer> ports = new HashSet<>();
    for (int i = 0; i < 100; i++) {
      pairs.add(connected());
      ports.add(pairs.get(i).guest.connection().hostPort());
    }
    assertEquals(100, ports.size());
    assertEquals(2, machineThreads().size());
    for (Pair pair : pairs) {
      pair.guest.write((pair.guest.connection() + "\n").getBytes(US_ASCII));
    }
    for (int i = 99; i >= 0; i--) {
      assertEquals(pairs.get(i).guest.connection().toString(), pairs.get(i).host.readLine());
    }
  }

  @Test
  void connectionThatNobodyReadsHoldsUpNoOther() throws Exception {
    Pair unread = connected();
    Pair other = connected();
    byte[] bytes = random(4 << 20);
    CompletableFuture<Void> writing = writeAndEnd(unread.guest, bytes);
    other.guest.write("hello\n".getBytes(US_ASCII));
    assertEquals("hello", other.host.readLine());
    assertArrayEquals(bytes, unread.host.readAll());
    writing.get();
  }

  @Test
  void connectionsAreBoundedAndAPlaceIsFreeAgain() throws Exception {
    // MOST of them take a minute and a half below Wine, where each event asks all.
    int most = 20;
    close();
    open(most);
    List<Pair> pairs = new ArrayList<>();
    for (int i = 0; i < most; i++) {
      pairs.add(connected());
    }
    IOException e =
        assertInstanceOf(
            IOException.class,
            assertThrows(ExecutionException.class, () -> host.connect(PORT).get()).getCause());
    assertTrue(e.getMessage().endsWith(": 20 connections are open already"), e::getMessage);
    // The guest's own side is full as well, but for one.
    pairs.get(0).guest.close();
    try (Listener listener = host.listen(PORT, connection -> {})) {
      BlockingConnection excess = new BlockingConnection(guest.connect(PORT).get());
      int end;
      try {
        end = excess.read(ByteBuffer.allocate(1));
      } catch (IOException reset) {
        end = -1;
      }
      assertEquals(-1, end);
      excess.close();
    }
    pairs.get(0).host.close();
    pairs.get(0).host.close();
    Pair again = connected();
    again.guest.write("hello\n".getBytes(US_ASCII));
    assertEquals("hello", again.host.readLine());
  }

  @Test
  void endOfTheMachineIsToldAfterWhatWasReceived() throws Exception {
    Pair pair = connected();
    Pair closed = connected();
    closed.guest.close();
    assertEquals(-1, closed.host.read(ByteBuffer.allocate(1)));
    CompletableFuture<GuestConnection> pending = host.connect(PORT + 1);
    host.listen(PORT, connection -> {});
    pair.guest.write("last\n".getBytes(US_ASCII));
    host.end("it ended");
    host.end("it ended again");
    assertEquals("last", pair.host.readLine());
    IOException e = assertThrows(IOException.class, () -> pair.host.read(ByteBuffer.allocate(1)));
    assertEquals("it ended", e.getMessage());
    assertThrows(IOException.class, () -> pair.host.write(new byte[1]));
    assertEquals(-1, closed.host.read(ByteBuffer.allocate(1)));
    assertInstanceOf(
        IOException.class, assertThrows(ExecutionException.class, pending::get).getCause());
    assertTrue(host.connect(PORT).isCompletedExceptionally());
    assertThrows(IllegalStateException.class, () -> host.listen(PORT, connection -> {}));
    host.close();
    assertEnded(pair.host.connection());
    awaitEvent(pair.host.connection());
  }

  @Test
  void readerThatWaitsIsToldOfTheEnd() throws Exception {
    Pair pair = connected();
    CountDownLatch told = new CountDownLatch(1);
    GuestConnection connection = pair.host.connection();
    connection.setEventListener(
        () -> {
          try {
            connection.read(ByteBuffer.allocate(1));
          } catch (IOException e) {
            told.countDown();
          }
        });
    host.end("it ended");
    told.await();
  }

  @Test
  void listenersThatThrowLoseTheirConnectionAlone() throws Exception {
    Pair good = connected();
    Pair bad = connected();
    bad.host
        .connection()
        .setEventListener(
            () -> {
              throw new IllegalStateException("of a test");
            });
    assertEquals(-1, bad.guest.read(ByteBuffer.allocate(1)));
    try (Listener listener =
        host.listen(
            PORT,
            connection -> {
              throw new IllegalStateException("of a test");
            })) {
      BlockingConnection refused = new BlockingConnection(guest.connect(PORT).get());
      assertEquals(-1, refused.read(ByteBuffer.allocate(1)));
    }
    good.guest.write("hello\n".getBytes(US_ASCII));
    assertEquals("hello", good.host.readLine());
  }

  @Test
  void allIsClosedOnTheThreadThatCallsUsers() throws Exception {
    Pair pair = connected();
    CompletableFuture<Thread> closer = new CompletableFuture<>();
    pair.host
        .connection()
        .setEventListener(
            () -> {
              host.close();
              closer.complete(Thread.currentThread());
            });
    closer.get().join();
    assertEnded(pair.host.connection());
    assertEquals(-1, pair.guest.read(ByteBuffer.allocate(1)));
  }

  @Test
  void listenerIsReplacedAndNotCalledAfterTheClose() throws Exception {
    Pair pair = connected();
    GuestConnection connection = pair.host.connection();
    BlockingQueue<String> calls = new LinkedBlockingQueue<>();
    connection.setEventListener(() -> calls.add("first"));
    assertEquals("first", calls.take());
    connection.setEventListener(() -> calls.add("second"));
    while (!calls.take().equals("second")) {
      // The first may have been called once more, for what happened before.
    }
    connection.close();
    // A call that was under way has ended when the same thread makes another.
    awaitEvent(connected().host.connection());
    calls.clear();
    pair.guest.close();
    host.close();
    assertEquals(0, calls.size());
    assertEnded(connection);
    assertThrows(IOException.class, connection::shutdownOutput);
  }

  @Test
  void connectionIsClosedByAnyThreadAtAnyTime() throws Exception {
    for (int i = 0; i < 50; i++) {
      Pair pair = connected();
      CompletableFuture<Void> writer =
          CompletableFuture.runAsync(
              () ->
                  assertThrows(
                      IOException.class,
                      () -> {
                        ByteBuffer bytes = ByteBuffer.allocate(1000);
                        while (true) {
                          pair.host.connection().write(bytes.clear());
                        }
                      }));
      assertTrue(pair.guest.read(ByteBuffer.allocate(100)) > 0);
      pair.host.close();
      writer.get();
      pair.guest.close();
    }
  }

  @Test
  void manyThreadsClose() throws Exception {
    Pair pair = connected();
    List<CompletableFuture<Void>> closers = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      closers.add(CompletableFuture.runAsync(host::close));
    }
    for (CompletableFuture<Void> closer : closers) {
      closer.get();
    }
    assertEquals(List.of("guest"), machineThreads().stream().map(Thread::getName).toList());
    assertEnded(pair.host.connection());
  }
}
