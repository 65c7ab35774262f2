// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.GuestIOException;
import dev.nacelle.GuestSocket;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxExit.Reason;
import dev.nacelle.SandboxSpec;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeMachine;
import dev.nacelle.fake.InMemoryGuestConnection;
import dev.nacelle.spi.BlockingConnection;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Connections from the host to a process of the guest that listens. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@Timeout(120)
@ExtendWith(NettyLeaks.class)
class GuestSocketTest {
  private static final int PORT = 5000;

  private final BlockingQueue<GuestConnection> accepted = new LinkedBlockingQueue<>();
  private FakeNacelle fake;
  private Sandbox sandbox;
  private FakeMachine machine;

  @BeforeAll
  void start() {
    fake = new FakeNacelle();
    sandbox = fake.start();
    machine = fake.machine();
    machine.listenInGuest(PORT, accepted::add);
  }

  @AfterAll
  void close() {
    fake.close();
  }

  /** Both ends of a connection. */
  private record Ends(GuestSocket host, BlockingConnection guest) implements AutoCloseable {
    @Override
    public void close() {
      host.close();
      guest.close();
    }
  }

  private Ends connect() throws Exception {
    return connect(sandbox);
  }

  private Ends connect(Sandbox sandbox) throws Exception {
    GuestSocket host = sandbox.connect(PORT);
    return new Ends(host, new BlockingConnection(accepted.take()));
  }

  /** Runs something on a thread of its own. */
  private static <T> CompletableFuture<T> run(Callable<T> task) {
    CompletableFuture<T> outcome = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                outcome.complete(task.call());
              } catch (Throwable e) {
                outcome.completeExceptionally(e);
              }
            });
    thread.setDaemon(true);
    thread.start();
    return outcome;
  }

  private static Throwable failure(CompletableFuture<?> future) {
    return assertThrows(ExecutionException.class, future::get).getCause();
  }

  private static byte[] random(int seed, int length) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  @Test
  void manyMegabytesGoEachWayAtOnceUnharmed() throws Exception {
    byte[] toGuest = random(1, 4 << 20);
    byte[] toHost = random(2, 4 << 20);
    try (Ends ends = connect()) {
      assertEquals(PORT, ends.host().port());
      CompletableFuture<byte[]> read = run(() -> ends.host().input().readAllBytes());
      CompletableFuture<byte[]> guestRead = run(() -> ends.guest().readAll());
      CompletableFuture<Void> guestWrote =
          run(
              () -> {
                ends.guest().write(toHost);
                ends.guest().connection().shutdownOutput();
                return null;
              });
      try (OutputStream output = ends.host().output()) {
        output.write(toGuest);
      }
      guestWrote.get();
      assertArrayEquals(toGuest, guestRead.get());
      assertArrayEquals(toHost, read.get());
    }
  }

  @Test
  void eachDirectionEndsByItself() throws Exception {
    try (Ends ends = connect()) {
      ends.host().output().write("question".getBytes(StandardCharsets.UTF_8));
      ends.host().output().close();
      ends.host().output().close();
      assertThrows(GuestIOException.class, () -> ends.host().output().write(1));
      assertArrayEquals("question".getBytes(StandardCharsets.UTF_8), ends.guest().readAll());
      ends.guest().write("answer".getBytes(StandardCharsets.UTF_8));
      ends.guest().connection().shutdownOutput();
      assertArrayEquals(
          "answer".getBytes(StandardCharsets.UTF_8), ends.host().input().readAllBytes());
      assertEquals(-1, ends.host().input().read());
    }
    try (Ends ends = connect()) {
      ends.guest().connection().shutdownOutput();
      assertEquals(-1, ends.host().input().read());
      ends.host().output().write(7);
      ends.host().output().close();
      assertArrayEquals(new byte[] {7}, ends.guest().readAll());
    }
  }

  @Test
  void portWhereNobodyListensIsRefusedAndTheSandboxGoesOn() {
    GuestIOException e = assertThrows(GuestIOException.class, () -> sandbox.connect(5001));
    assertEquals("nobody listens on port 5001 of the guest", e.getMessage());
    assertEquals("on\n", sandbox.exec("echo", "on").stdout().text());
  }

  @Test
  void whatIsNoPortIsRefused() {
    assertRefused("4294967295 (VMADDR_PORT_ANY) is not a port", () -> sandbox.connect(-1));
  }

  /** Connects with a limit of one's own; the future gets what completes when it is over. */
  private GuestSocket connect(
      int port, Duration limit, CompletableFuture<CompletableFuture<Void>> ended)
      throws GuestIOException {
    try (Workers workers = new Workers(GuestSocketTest::schedule)) {
      GuestCalls calls =
          new GuestCalls(
              "box", new CompletableFuture<>(), new CompletableFuture<>(), machine, workers);
      return new GuestSockets(calls, machine, GuestSocketTest::schedule, limit, ended::complete)
          .connect(port);
    }
  }

  private static Future<?> schedule(Runnable task, Duration delay) {
    return CompletableFuture.runAsync(
        task, CompletableFuture.delayedExecutor(delay.toMillis(), TimeUnit.MILLISECONDS));
  }

  @Test
  void guestThatDoesNotAnswerIsWaitedForUntilALimit() {
    CompletableFuture<CompletableFuture<Void>> ended = new CompletableFuture<>();
    GuestIOException e =
        assertThrows(
            GuestIOException.class,
            () -> connect(FakeMachine.SILENT_PORT, Duration.ofMillis(1), ended));
    assertTrue(e.getMessage().contains("within PT0.001S"), e::getMessage);
    assertTrue(ended.join().isDone());
  }

  @Test
  void connectionIsOverWhenItIsClosedOrFoundBroken() throws Exception {
    for (boolean reset : new boolean[] {false, true}) {
      CompletableFuture<CompletableFuture<Void>> ended = new CompletableFuture<>();
      try (Ends ends =
          new Ends(
              connect(PORT, Duration.ofMinutes(1), ended),
              new BlockingConnection(accepted.take()))) {
        assertFalse(ended.join().isDone());
        if (reset) {
          ((InMemoryGuestConnection) ends.guest().connection()).reset();
          InputStream input = ends.host().input();
          assertThrows(GuestIOException.class, input::read);
        } else {
          ends.host().close();
        }
        assertTrue(ended.join().isDone());
      }
    }
  }

  @Test
  void waitingForAConnectionCanBeInterrupted() {
    Thread.currentThread().interrupt();
    assertThrows(
        InterruptedOperationException.class, () -> sandbox.connect(FakeMachine.SILENT_PORT));
    assertTrue(Thread.interrupted());
  }

  @Test
  void resetIsToldAfterWhatHadArrived() throws Exception {
    try (Ends ends = connect()) {
      ends.guest().write(new byte[] {1, 2, 3});
      ((InMemoryGuestConnection) ends.guest().connection()).reset();
      assertArrayEquals(new byte[] {1, 2, 3}, ends.host().input().readNBytes(3));
      assertThrows(GuestIOException.class, () -> ends.host().input().read());
      assertThrows(GuestIOException.class, () -> ends.host().output().write(1));
    }
  }

  /** As on Hyper-V, which tells of a machine's end later than of its connections'. */
  @Test
  void resetThatMayBeTheGuestsEndIsWhatTheAgentsConnectionSays() throws Exception {
    try (Ends ends = connect()) {
      ((InMemoryGuestConnection) ends.guest().connection()).reset(new SocketException("reset"));
      IOException e = assertThrows(GuestIOException.class, () -> ends.host().input().read());
      assertEquals(SocketException.class, e.getCause().getClass());
    }
    assertEquals("on\n", sandbox.exec("echo", "on").stdout().text());
    try (Sandbox own = fake.start()) {
      FakeMachine ownMachine = fake.machine();
      ownMachine.listenInGuest(PORT, accepted::add);
      try (Ends ends = connect(own)) {
        ownMachine.hangUp();
        ((InMemoryGuestConnection) ends.guest().connection()).reset(new SocketException("reset"));
        IOException e = assertThrows(GuestIOException.class, () -> ends.host().output().write(1));
        SandboxEndedException ended = (SandboxEndedException) e.getCause();
        assertEquals(SandboxExit.Reason.CONNECTION_LOST, ended.exit().reason());
      }
    }
  }

  @Test
  void failedConnectThatMayBeTheGuestsEndIsWhatTheAgentsConnectionSays() throws Exception {
    for (boolean ends : new boolean[] {false, true}) {
      try (Sandbox own = fake.start()) {
        FakeMachine ownMachine = fake.machine();
        CompletableFuture<GuestSocket> connecting = run(() -> own.connect(FakeMachine.SILENT_PORT));
        ownMachine.asked().join();
        if (ends) {
          ownMachine.hangUp();
        }
        ownMachine.failConnects(new SocketException("no answer"));
        if (ends) {
          SandboxEndedException e = (SandboxEndedException) failure(connecting);
          assertEquals(SandboxExit.Reason.CONNECTION_LOST, e.exit().reason());
        } else {
          GuestIOException e = (GuestIOException) failure(connecting);
          assertEquals("no answer", e.getMessage());
          assertEquals("on\n", own.exec("echo", "on").stdout().text());
        }
      }
    }
  }

  @Test
  void interruptedThreadLetsGoOfTheStreamAndTheConnectionStays() throws Exception {
    try (Ends ends = connect()) {
      Thread.currentThread().interrupt();
      assertThrows(InterruptedIOException.class, () -> ends.host().input().read());
      assertTrue(Thread.interrupted());
      Thread.currentThread().interrupt();
      byte[] much = random(3, 1 << 20);
      InterruptedIOException e =
          assertThrows(InterruptedIOException.class, () -> ends.host().output().write(much));
      assertTrue(Thread.interrupted());
      // As much as had room without anybody reading.
      assertTrue(e.bytesTransferred > 0 && e.bytesTransferred < much.length);
      ends.host().output().close();
      assertEquals(e.bytesTransferred, ends.guest().readAll().length);
      ends.guest().write(new byte[] {9});
      assertEquals(9, ends.host().input().read());
    }
  }

  @Test
  void writerWaitsForAGuestThatDoesNotRead() throws Exception {
    try (Ends ends = connect()) {
      byte[] much = random(4, 1 << 20);
      CompletableFuture<Void> writer =
          run(
              () -> {
                ends.host().output().write(much);
                ends.host().output().close();
                return null;
              });
      byte[] all = new byte[much.length];
      for (int at = 0; at < all.length; ) {
        // What is still to come is more than the connection holds, so it cannot be written.
        assertFalse(all.length - at > 64 << 10 && writer.isDone());
        at += ends.guest().read(ByteBuffer.wrap(all, at, Math.min(4096, all.length - at)));
      }
      writer.get();
      assertArrayEquals(much, all);
    }
  }

  @Test
  void closingOnAnotherThreadWakesWhoWaits() throws Exception {
    try (Ends ends = connect()) {
      CompletableFuture<Integer> reader = run(() -> ends.host().input().read());
      CompletableFuture<Void> writer =
          run(
              () -> {
                ends.host().output().write(new byte[1 << 20]);
                return null;
              });
      // It writes, so it will wait.
      ends.guest().read(ByteBuffer.allocate(1));
      ends.host().close();
      ends.host().close();
      assertEquals(GuestIOException.class, failure(reader).getClass());
      assertEquals(GuestIOException.class, failure(writer).getClass());
      assertThrows(GuestIOException.class, () -> ends.host().input().read());
    }
  }

  @Test
  void soManyAreOpenAtOnceAndOneThatIsClosedMakesRoom() throws Exception {
    List<Ends> all = new ArrayList<>();
    try (Sandbox own = fake.start()) {
      fake.machine().listenInGuest(PORT, accepted::add);
      for (int i = 0; i < GuestSockets.MOST; i++) {
        all.add(connect(own));
        all.get(i).host().output().write(i);
      }
      for (int i = 0; i < GuestSockets.MOST; i++) {
        ByteBuffer one = ByteBuffer.allocate(1);
        assertEquals(1, all.get(i).guest().read(one));
        assertEquals((byte) i, one.get(0));
      }
      assertThrows(IllegalStateException.class, () -> own.connect(PORT));
      // What is refused takes no place.
      all.remove(7).close();
      assertThrows(GuestIOException.class, () -> own.connect(5001));
      all.add(connect(own));
      assertThrows(IllegalStateException.class, () -> own.connect(PORT));
      all.forEach(Ends::close);
      connect(own).close();
    }
  }

  @Test
  void endOfTheSandboxEndsTheConnectionsAndIsToldApart() throws Exception {
    try (Sandbox own = fake.start()) {
      FakeMachine ownMachine = fake.machine();
      ownMachine.listenInGuest(PORT, accepted::add);
      try (Ends ends = connect(own)) {
        CompletableFuture<Integer> reader = run(() -> ends.host().input().read());
        CompletableFuture<GuestSocket> pending = run(() -> own.connect(FakeMachine.SILENT_PORT));
        ownMachine.asked().get();
        ownMachine.panic();
        assertEquals(GuestIOException.class, failure(reader).getClass());
        SandboxEndedException ended = (SandboxEndedException) failure(pending);
        assertEquals(Reason.GUEST_CRASHED, ended.exit().reason());
        assertThrows(SandboxEndedException.class, () -> own.connect(PORT));
        assertThrows(GuestIOException.class, () -> ends.host().output().write(1));
      }
    }
  }

  @Test
  void aConnectionThatIsOpenKeepsNoGuestFromBeingIdle() throws Exception {
    SandboxSpec spec = FakeNacelle.spec().idleTimeout(Duration.ofSeconds(5)).build();
    try (Sandbox own = fake.nacelle.start(spec)) {
      fake.machine().listenInGuest(PORT, accepted::add);
      try (Ends ends = connect(own)) {
        assertEquals(Reason.IDLE, own.onExit().get().reason());
        assertThrows(GuestIOException.class, () -> ends.host().output().write(1));
      }
    }
  }
}
