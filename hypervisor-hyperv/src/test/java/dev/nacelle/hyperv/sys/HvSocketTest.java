// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Sockets over the stand-in for Winsock: see src/test/c. */
@Timeout(60)
class HvSocketTest {
  private static final Duration LIMIT = Duration.ofSeconds(5);

  private final UUID vm = UUID.randomUUID();
  private final HvSocketAddress address = HvSocketAddress.ofPort(vm, 1024);
  private final ByteBuffer buffer = ByteBuffer.allocateDirect(65_536);
  private SocketEvents events;

  @BeforeEach
  void open() throws Exception {
    StandIn.reset();
    events = new SocketEvents();
  }

  @AfterEach
  void nothingIsLeft() {
    events.close();
    StandIn.requireNothingLeft();
  }

  /** Waits as a loop does. */
  private HvSocket.Events await(HvSocket socket, Predicate<HvSocket.Events> wanted)
      throws Exception {
    while (true) {
      HvSocket.Events happened = socket.events();
      if (wanted.test(happened)) {
        return happened;
      }
      events.await(30_000);
    }
  }

  private static ByteBuffer direct(byte[] bytes) {
    return ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
  }

  /** Two ends of a connection. */
  private record Pair(HvSocket host, HvSocket guest) implements AutoCloseable {
    @Override
    public void close() {
      host.close();
      guest.close();
    }
  }

  private Pair connect() throws Exception {
    try (HvSocket listener = HvSocket.listen(address, 4, events)) {
      assertNull(listener.accept());
      HvSocket guest = HvSocket.connect(address, LIMIT, events);
      await(guest, HvSocket.Events::hasConnected).requireConnected();
      await(listener, HvSocket.Events::isAcceptable);
      HvSocket.Accepted accepted = listener.accept();
      assertEquals(new HvSocketAddress(vm, accepted.peer().service()), accepted.peer());
      assertEquals(0x12345678, accepted.peer().port().getAsInt());
      assertNull(listener.accept());
      return new Pair(accepted.socket(), guest);
    }
  }

  @Test
  void bytesGoBothWaysAndEachEndsByItself() throws Exception {
    try (Pair pair = connect()) {
      assertEquals(0, pair.host.read(buffer));
      assertEquals(5, pair.guest.write(direct("hello".getBytes(US_ASCII))));
      pair.guest.shutdownOutput();
      await(pair.host, HvSocket.Events::isReadable);
      buffer.position(3);
      assertEquals(5, pair.host.read(buffer));
      assertEquals(8, buffer.position());
      byte[] read = new byte[5];
      buffer.get(3, read);
      assertEquals("hello", new String(read, US_ASCII));
      while (pair.host.read(buffer) != -1) {
        events.await(30_000);
      }
      assertEquals(3, pair.host.write(direct("bye".getBytes(US_ASCII))));
      await(pair.guest, HvSocket.Events::isReadable);
      assertEquals(3, pair.guest.read(buffer.clear()));
    }
  }

  @Test
  void whatIsReadInPartIsToldAgain() throws Exception {
    try (Pair pair = connect()) {
      pair.guest.write(direct(new byte[100]));
      for (int i = 0; i < 10; i++) {
        await(pair.host, HvSocket.Events::isReadable);
        assertEquals(10, pair.host.read(buffer.clear().limit(10)));
      }
      assertEquals(0, pair.host.read(buffer.clear()));
    }
  }

  @Test
  void writerThatWasTurnedAwayIsToldWhenThereIsRoom() throws Exception {
    byte[] bytes = new byte[4 << 20];
    new java.util.Random(1).nextBytes(bytes);
    ByteBuffer source = direct(bytes);
    ByteBuffer received = ByteBuffer.allocate(bytes.length);
    try (Pair pair = connect()) {
      while (source.hasRemaining()) {
        if (pair.guest.write(source) == 0) {
          while (pair.host.read(buffer.clear()) > 0) {
            received.put(buffer.flip());
          }
          await(pair.guest, HvSocket.Events::isWritable);
        }
      }
      while (received.hasRemaining()) {
        await(pair.host, HvSocket.Events::isReadable);
        while (pair.host.read(buffer.clear()) > 0) {
          received.put(buffer.flip());
        }
      }
    }
    assertTrue(Arrays.equals(bytes, received.array()));
  }

  @Test
  void connectToNobodyFails() throws Exception {
    try (HvSocket socket = HvSocket.connect(address, LIMIT, events)) {
      HvSocket.Events happened = await(socket, HvSocket.Events::hasConnected);
      WinsockException e = assertThrows(WinsockException.class, happened::requireConnected);
      assertEquals(Winsock.WSAECONNREFUSED, e.code());
    }
  }

  @Test
  void placeThatIsTakenIsTold() throws Exception {
    try (HvSocket first = HvSocket.listen(address, 4, events)) {
      WinsockException e =
          assertThrows(WinsockException.class, () -> HvSocket.listen(address, 4, events));
      assertEquals(Winsock.WSAEADDRINUSE, e.code());
      assertTrue(e.getMessage().startsWith("bind: "), e::getMessage);
      assertNull(first.accept());
    }
  }

  @Test
  void connectionThatWasResetIsTold() throws Exception {
    try (Pair pair = connect()) {
      pair.host.write(direct(new byte[10]));
      pair.guest.close();
      await(pair.host, HvSocket.Events::isReadable);
      WinsockException e =
          assertThrows(WinsockException.class, () -> pair.host.write(direct(new byte[1])));
      assertEquals(Winsock.WSAECONNRESET, e.code());
    }
  }

  @Test
  void closedSocketIsNotTouched() throws Exception {
    try (Pair pair = connect()) {
      pair.host.close();
      pair.host.close();
      for (org.junit.jupiter.api.function.Executable call :
          new org.junit.jupiter.api.function.Executable[] {
            () -> pair.host.read(buffer.clear()),
            () -> pair.host.write(direct(new byte[1])),
            pair.host::events,
            pair.host::accept,
            pair.host::shutdownOutput
          }) {
        assertEquals(Winsock.WSAECONNABORTED, assertThrows(WinsockException.class, call).code());
      }
    }
  }

  @Test
  void socketIsClosedByAnyThreadAtAnyTime() throws Exception {
    for (int i = 0; i < 50; i++) {
      try (Pair pair = connect()) {
        CompletableFuture<Void> reader =
            CompletableFuture.runAsync(
                () -> {
                  ByteBuffer own = ByteBuffer.allocateDirect(100);
                  assertThrows(
                      WinsockException.class,
                      () -> {
                        while (true) {
                          pair.host.read(own.clear());
                          pair.host.write(own.clear());
                        }
                      });
                });
        Thread.sleep(1);
        pair.host.close();
        reader.join();
      }
    }
  }

  @Test
  void whoWaitsIsWoken() throws Exception {
    CompletableFuture<Void> waiting =
        CompletableFuture.runAsync(
            () -> {
              try {
                events.await(60_000);
              } catch (WinsockException e) {
                throw new IllegalStateException(e);
              }
            });
    events.wake();
    waiting.join();
    events.wake();
    events.await(60_000);
    events.await(1);
    events.close();
    events.wake();
  }

  @Test
  void buffersAreDirectAndHaveRoom() throws Exception {
    try (Pair pair = connect()) {
      assertThrows(IllegalArgumentException.class, () -> pair.host.read(ByteBuffer.allocate(10)));
      assertThrows(
          IllegalArgumentException.class, () -> pair.host.write(ByteBuffer.allocateDirect(0)));
    }
  }
}
