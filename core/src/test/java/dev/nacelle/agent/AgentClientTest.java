// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.nacelle.DataSize;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestProcessInfo;
import dev.nacelle.Signal;
import dev.nacelle.SignalScope;
import dev.nacelle.TerminalSize;
import dev.nacelle.agent.AgentException.Kind;
import dev.nacelle.agent.ProcessListener.StartFailure;
import dev.nacelle.agent.ProcessRequest.Outputs;
import dev.nacelle.container.ContainerSpec;
import dev.nacelle.fake.InMemoryGuestConnection;
import dev.nacelle.proto.agent.v1.AgentGrpc;
import dev.nacelle.proto.agent.v1.Created;
import dev.nacelle.proto.agent.v1.Exited;
import dev.nacelle.proto.agent.v1.GetInfoRequest;
import dev.nacelle.proto.agent.v1.GetInfoResponse;
import dev.nacelle.proto.agent.v1.ListProcessesRequest;
import dev.nacelle.proto.agent.v1.ListProcessesResponse;
import dev.nacelle.proto.agent.v1.ProcessInfo;
import dev.nacelle.proto.agent.v1.RunProcessRequest;
import dev.nacelle.proto.agent.v1.RunProcessResponse;
import dev.nacelle.proto.agent.v1.Started;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestDisk;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@ExtendWith(NettyLeaks.class)
@Timeout(120)
class AgentClientTest {
  private static final FakeProgram CAT =
      process -> {
        for (byte[] chunk = process.read(); chunk != null; chunk = process.read()) {
          process.write(false, chunk);
        }
        return 0;
      };

  private static ProcessRequest request(boolean stdin, String... arguments) {
    return request(null, stdin, 0, false, Outputs.APART, false, arguments);
  }

  private static ProcessRequest request(
      @Nullable TerminalSize terminal,
      boolean stdin,
      long startTimeoutNanos,
      boolean pidOne,
      Outputs outputs,
      boolean hold,
      String... arguments) {
    return new ProcessRequest(
        List.of(arguments),
        List.of(),
        "/",
        "",
        terminal,
        0,
        stdin,
        0,
        -1,
        startTimeoutNanos,
        pidOne,
        outputs,
        null,
        "",
        hold);
  }

  private static Kind failureOf(CompletableFuture<?> future) {
    ExecutionException e = assertThrows(ExecutionException.class, future::get);
    return assertInstanceOf(AgentException.class, e.getCause()).kind();
  }

  @ParameterizedTest
  @ValueSource(ints = {AgentPair.SMALL, AgentPair.LARGE})
  void thousandsOfCallsAreAnswered(int capacity) throws Exception {
    try (AgentPair pair = AgentPair.with(Map.of(), capacity, 1)) {
      Deque<CompletableFuture<AgentInfo>> open = new ArrayDeque<>();
      for (int i = 0; i < 5000; i++) {
        open.add(pair.client.getInfo());
        if (open.size() > 64) {
          assertEquals("6.1.0-fake", open.remove().get().kernelRelease());
        }
      }
      for (CompletableFuture<AgentInfo> call : open) {
        assertEquals("6.1.0-fake", call.get().kernelRelease());
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"64, 262144, 1", "4, 262144, 2", "4, 65536, 3", "1, 4096, 4", "1, 1000, 5"})
  void mebibytesPassBothWaysAtOnceUnharmed(int mebibytes, int capacity, long seed)
      throws Exception {
    int total = mebibytes << 20;
    try (AgentPair pair = AgentPair.with(Map.of("cat", CAT), capacity, seed)) {
      MessageDigest received = MessageDigest.getInstance("SHA-256");
      AtomicLong count = new AtomicLong();
      RecordingListener listener =
          new RecordingListener() {
            @Override
            public boolean onOutput(boolean error, ByteBuffer bytes) {
              count.addAndGet(bytes.remaining());
              received.update(bytes);
              return true;
            }
          };
      AgentProcess process = pair.run(request(true, "cat"), listener, null);
      listener.started.get();
      MessageDigest sent = MessageDigest.getInstance("SHA-256");
      Random random = new Random(seed);
      byte[] chunk = new byte[AgentProcess.STDIN_CHUNK];
      for (int left = total; left > 0; ) {
        while (!process.isWritable()) {
          listener.writable.acquire();
        }
        int length = Math.min(left, 1 + random.nextInt(chunk.length));
        random.nextBytes(chunk);
        sent.update(chunk, 0, length);
        assertTrue(process.write(ByteBuffer.wrap(chunk, 0, length)));
        left -= length;
      }
      process.closeStdin();
      assertEquals(0, listener.exit.get().exitCode());
      assertEquals(total, count.get());
      assertArrayEquals(sent.digest(), received.digest());
    }
  }

  @Test
  void whoWritesWaitsForAProcessThatDoesNotRead() throws Exception {
    CompletableFuture<Void> reads = new CompletableFuture<>();
    AtomicLong read = new AtomicLong();
    FakeProgram late =
        process -> {
          reads.get();
          for (byte[] bytes = process.read(); bytes != null; bytes = process.read()) {
            read.addAndGet(bytes.length);
          }
          return 0;
        };
    try (AgentPair pair = AgentPair.with(Map.of("late", late), AgentPair.LARGE, 6)) {
      RecordingListener listener = new RecordingListener();
      AgentProcess process = pair.run(request(true, "late"), listener, null);
      listener.started.get();
      byte[] chunk = new byte[AgentProcess.STDIN_CHUNK];
      long written = 0;
      for (; process.isWritable(); written += chunk.length) {
        assertTrue(written < 16 << 20, "it reads nothing, and more is asked for");
        assertTrue(process.write(ByteBuffer.wrap(chunk)));
      }
      assertTrue(written >= AgentProcess.STDIN_BURST);
      reads.complete(null);
      while (!process.isWritable()) {
        listener.writable.acquire();
      }
      process.closeStdin();
      assertEquals(0, listener.exit.get().exitCode());
      assertEquals(written, read.get());
    }
  }

  @Test
  void fewSingleBytesWaitForAProcessThatDoesNotRead() throws Exception {
    CompletableFuture<Void> reads = new CompletableFuture<>();
    AtomicLong read = new AtomicLong();
    FakeProgram late =
        process -> {
          reads.get();
          for (byte[] bytes = process.read(); bytes != null; bytes = process.read()) {
            assertArrayEquals(new byte[] {(byte) read.getAndIncrement()}, bytes);
          }
          return 0;
        };
    try (AgentPair pair = AgentPair.with(Map.of("late", late), AgentPair.LARGE, 6)) {
      RecordingListener listener = new RecordingListener();
      AgentProcess process = pair.run(request(true, "late"), listener, null);
      listener.started.get();
      int written = 0;
      for (; process.isWritable(); written++) {
        // The guest's window of 1 MiB, what waits here, and what is on its way.
        assertTrue(written < 4 << 10, "it reads nothing, and more is asked for");
        assertTrue(process.write(ByteBuffer.wrap(new byte[] {(byte) written})));
      }
      reads.complete(null);
      process.closeStdin();
      assertEquals(0, listener.exit.get().exitCode());
      assertEquals(written, read.get());
    }
  }

  @Test
  void outputsAreKeptApartAndCompleteBeforeTheExit() throws Exception {
    FakeProgram program =
        process -> {
          process.write(false, "out".getBytes());
          process.write(true, "err".getBytes());
          return 3;
        };
    try (AgentPair pair = AgentPair.with(Map.of("both", program), AgentPair.SMALL, 4)) {
      RecordingListener listener = new RecordingListener();
      pair.run(request(false, "both"), listener, null);
      assertEquals(3, listener.exit.get().exitCode());
      assertEquals("out", listener.stdout());
      assertEquals("err", listener.stderr());
    }
  }

  @Test
  void processBlocksWhileItsOutputIsNotReadAndOthersGoOn() throws Exception {
    AtomicLong written = new AtomicLong();
    CompletableFuture<Void> blocked = new CompletableFuture<>();
    FakeProgram flood =
        process -> {
          process.blocked().thenRun(() -> blocked.complete(null));
          byte[] chunk = new byte[64 * 1024];
          for (int i = 0; i < 256; i++) {
            process.write(false, chunk);
            written.addAndGet(chunk.length);
          }
          return 0;
        };
    try (AgentPair pair = AgentPair.with(Map.of("flood", flood, "cat", CAT), AgentPair.LARGE, 5)) {
      AtomicLong received = new AtomicLong();
      CompletableFuture<Void> first = new CompletableFuture<>();
      RecordingListener slow =
          new RecordingListener() {
            @Override
            public boolean onOutput(boolean error, ByteBuffer bytes) {
              received.addAndGet(bytes.remaining());
              return !first.complete(null);
            }
          };
      AgentProcess process = pair.run(request(false, "flood"), slow, null);
      first.get();
      blocked.get();
      // One stream that nobody reads holds up no other: 4 MiB pass beside it.
      RecordingListener other = new RecordingListener();
      AgentProcess cat = pair.run(request(true, "cat"), other, null);
      other.started.get();
      for (int sent = 0; sent < 4 << 20; sent += AgentProcess.STDIN_CHUNK) {
        while (!cat.isWritable()) {
          other.writable.acquire();
        }
        cat.write(ByteBuffer.wrap(new byte[AgentProcess.STDIN_CHUNK]));
      }
      cat.closeStdin();
      other.exit.get();
      assertEquals(4 << 20, other.stdout().length());
      assertTrue(written.get() < 4 << 20, () -> "the flood went on to " + written.get() + " bytes");
      process.resume();
      assertEquals(0, slow.exit.get().exitCode());
      assertEquals(16 << 20, received.get());
    }
  }

  @Test
  void commandThatIsNotThereIsToldApart() throws Exception {
    try (AgentPair pair = AgentPair.with(Map.of(), AgentPair.SMALL, 6)) {
      RecordingListener listener = new RecordingListener();
      pair.run(request(false, "nosuch"), listener, null);
      assertEquals(StartFailure.COMMAND_NOT_FOUND, listener.startFailure.get());
      assertFalse(listener.exit.isDone());
    }
  }

  @Test
  void signalsAndSizesReachTheProcess() throws Exception {
    FakeProgram program =
        process -> {
          int signal = process.awaitSignal();
          var size = process.awaitResize();
          process.print(signal + " " + size.getRows() + "x" + size.getColumns());
          return 0;
        };
    try (AgentPair pair = AgentPair.with(Map.of("tty", program), AgentPair.SMALL, 7)) {
      RecordingListener listener = new RecordingListener();
      ProcessRequest request =
          request(TerminalSize.DEFAULT, false, 0, false, Outputs.APART, false, "tty");
      AgentProcess process = pair.run(request, listener, null);
      listener.started.get();
      pair.client.signal(process.id(), Signal.USR1, SignalScope.PROCESS).get();
      pair.client.resize(process.id(), new TerminalSize(50, 132)).get();
      listener.exit.get();
      assertEquals("10 50x132", listener.stdout());
      assertEquals(
          Kind.NOT_FOUND,
          failureOf(pair.client.signal(process.id(), Signal.TERM, SignalScope.PROCESS)));
    }
  }

  @Test
  void cancellingKillsTheProcessInTheGuest() throws Exception {
    CompletableFuture<String> ended = new CompletableFuture<>();
    FakeProgram hang =
        process -> {
          try {
            process.awaitSignal();
            return 0;
          } catch (InterruptedException e) {
            ended.complete("killed");
            throw e;
          }
        };
    try (AgentPair pair = AgentPair.with(Map.of("hang", hang), AgentPair.SMALL, 8)) {
      RecordingListener listener = new RecordingListener();
      AgentProcess process = pair.run(request(false, "hang"), listener, null);
      listener.started.get();
      process.cancel();
      assertEquals(Kind.CANCELLED, listener.failure.get().kind());
      assertEquals("killed", ended.get());
    }
  }

  @Test
  void exitThatIsHereAlreadyIsToldOfAProcessThatIsGivenUp() throws Exception {
    CompletableFuture<Void> told = new CompletableFuture<>();
    FakeProgram program =
        process -> {
          process.told().thenRun(() -> told.complete(null));
          process.print("unread");
          return 3;
        };
    try (AgentPair pair = AgentPair.with(Map.of("print", program), AgentPair.LARGE, 18)) {
      RecordingListener listener =
          new RecordingListener() {
            @Override
            public boolean onOutput(boolean error, ByteBuffer bytes) {
              return false;
            }
          };
      AgentProcess process = pair.run(request(false, "print"), listener, null);
      told.get();
      // What is said at the same time may come in either order.
      pair.client.getInfo().get();
      // Answers that come after the exit. On the event loop, so that nothing comes between the two:
      // this thread has to call again when an answer was there before it said what to do then.
      Thread caller = Thread.currentThread();
      AtomicBoolean givenUp = new AtomicBoolean();
      while (!givenUp.get()) {
        pair.client
            .getInfo()
            .thenRun(
                () -> {
                  if (Thread.currentThread() != caller) {
                    process.cancel();
                    process.resume();
                    givenUp.set(true);
                  }
                })
            .get();
      }
      assertEquals(3, listener.exit.get().exitCode());
    }
  }

  @Test
  void callsOutliveWhatTheirCallerServes() throws Exception {
    try (AgentPair pair = AgentPair.with(Map.of("cat", CAT), AgentPair.LARGE, 19);
        Context.CancellableContext served = Context.current().withCancellation()) {
      RecordingListener listener = new RecordingListener();
      AgentProcess process = served.call(() -> pair.run(request(true, "cat"), listener, null));
      listener.started.get();
      served.cancel(null);
      assertEquals("1.2.3", served.call(pair.client::getInfo).get().agentVersion());
      process.closeStdin();
      assertEquals(0, listener.exit.get().exitCode());
    }
  }

  @Test
  void guestThatCallsItselfUnavailableIsNotDisconnected() throws Exception {
    FakeProgram program =
        process -> {
          throw Status.UNAVAILABLE.asException();
        };
    try (AgentPair pair = AgentPair.with(Map.of("lie", program), AgentPair.LARGE, 20)) {
      RecordingListener listener = new RecordingListener();
      pair.run(request(false, "lie"), listener, null);
      assertEquals(Kind.MISBEHAVED, listener.failure.get().kind());
      assertEquals("1.2.3", pair.client.getInfo().get().agentVersion());
    }
  }

  @Test
  void hostGivesUpAtTheDeadlineWhateverTheGuestDoes() throws Exception {
    FakeProgram hang = process -> process.awaitSignal();
    try (AgentPair pair = AgentPair.with(Map.of("hang", hang), AgentPair.SMALL, 9)) {
      RecordingListener listener = new RecordingListener();
      pair.run(request(false, "hang"), listener, Duration.ofMillis(20));
      assertEquals(Kind.TIMED_OUT, listener.failure.get().kind());
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void resetInTheMiddleFailsEverythingThatIsOpen(long seed) throws Exception {
    Random random = new Random(seed);
    try (AgentPair pair = AgentPair.with(Map.of("cat", CAT), AgentPair.SMALL, seed)) {
      RecordingListener listener = new RecordingListener();
      AgentProcess process = pair.run(request(true, "cat"), listener, null);
      listener.started.get();
      List<CompletableFuture<AgentInfo>> calls = new ArrayList<>();
      for (int i = random.nextInt(40); i >= 0; i--) {
        process.write(ByteBuffer.wrap(new byte[random.nextInt(AgentProcess.STDIN_CHUNK)]));
        calls.add(pair.client.getInfo());
      }
      pair.host.reset();
      assertEquals(Kind.DISCONNECTED, listener.failure.get().kind());
      pair.client.disconnected().get();
      for (CompletableFuture<AgentInfo> call : calls) {
        try {
          call.get();
        } catch (ExecutionException e) {
          assertEquals(Kind.DISCONNECTED, ((AgentException) e.getCause()).kind());
        }
      }
      assertEquals(Kind.DISCONNECTED, failureOf(pair.client.getInfo()));
      assertFalse(process.write(ByteBuffer.wrap(new byte[1])));
    }
  }

  @Test
  void guestThatEndsItsOutputIsDisconnected() throws Exception {
    try (AgentPair pair = AgentPair.with(Map.of(), AgentPair.SMALL, 10)) {
      pair.client.getInfo().get();
      pair.guest.shutdownOutput();
      pair.client.disconnected().get();
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void closingWhileManyCallsAreOpenEndsThemAll(long seed) throws Exception {
    try (AgentPair pair = AgentPair.with(Map.of("cat", CAT), AgentPair.SMALL, seed)) {
      List<RecordingListener> listeners = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        RecordingListener listener = new RecordingListener();
        listeners.add(listener);
        pair.run(request(true, "cat"), listener, null).write(ByteBuffer.wrap(new byte[99]));
      }
      List<Thread> closers = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        Thread closer = new Thread(pair.client::close);
        closers.add(closer);
        closer.start();
      }
      for (Thread closer : closers) {
        closer.join();
      }
      for (RecordingListener listener : listeners) {
        assertThrows(ExecutionException.class, listener.exit::get);
      }
    }
  }

  @Test
  void callsMadeBeforeTheGuestDialsWaitForIt() throws Exception {
    AgentLoops loops = new AgentLoops(1);
    CompletableFuture<GuestConnection> dialled = new CompletableFuture<>();
    AgentClient client = loops.client(dialled);
    try (FakeAgentServer server = new FakeAgentServer(new FakeAgent(Map.of(), () -> {}))) {
      CompletableFuture<AgentInfo> info = client.getInfo();
      assertFalse(info.isDone());
      var pair = InMemoryGuestConnection.pair(4096, 11, Runnable::run, 1, 1024);
      server.accept(pair.guest());
      dialled.complete(pair.host());
      assertEquals("1.2.3", info.get().agentVersion());
    } finally {
      client.close();
      client.disconnected().join();
      loops.close();
    }
  }

  @Test
  void guestThatNeverDialsFailsTheCallsOnClose() throws Exception {
    AgentLoops loops = new AgentLoops(1);
    AgentClient client = loops.client(new CompletableFuture<>());
    CompletableFuture<AgentInfo> info = client.getInfo();
    client.close();
    assertEquals(Kind.DISCONNECTED, failureOf(info));
    loops.close();
  }

  /** As one that is on its way into gRPC when everything is closed. */
  @Test
  void callThatComesAfterTheEndOfTheLoopsEndsWithTheConnection() throws Exception {
    try (AgentPair pair = AgentPair.with(Map.of("cat", CAT), AgentPair.LARGE, 14)) {
      pair.client.getInfo().get();
      pair.endLoops();
      RecordingListener listener = new RecordingListener();
      pair.run(request(true, "cat"), listener, null);
      pair.client.close();
      assertEquals(Kind.DISCONNECTED, listener.failure.get().kind());
    }
  }

  @Test
  void connectionThatIsBrokenOffBeforeItsLoopKnowsItIsClosed() throws Exception {
    GuestLoop loop = new GuestLoop(Thread::new);
    GuestChannel channel = new GuestChannel();
    loop.submit(channel::breakOff).get();
    loop.register(channel);
    channel.closeFuture().get();
    loop.end();
    loop.awaitEnd();
  }

  @Test
  void guestThatSpeaksNoHttp2IsDisconnected() throws Exception {
    try (AgentPair pair = new AgentPair(null, AgentPair.LARGE, 12)) {
      CompletableFuture<AgentInfo> info = pair.client.getInfo();
      byte[] garbage = new byte[4096];
      new Random(12).nextBytes(garbage);
      pair.writeAll(ByteBuffer.wrap(garbage));
      assertThrows(ExecutionException.class, info::get);
      pair.client.disconnected().get();
    }
  }

  @Test
  void guestThatMakesTheHostAnswerAndDoesNotReadIsDisconnected() throws Exception {
    try (AgentPair pair = new AgentPair(null, AgentPair.LARGE, 13)) {
      CompletableFuture<AgentInfo> info = pair.client.getInfo();
      byte[] settings = {0, 0, 0, 4, 0, 0, 0, 0, 0};
      // A PING frame (RFC 9113 section 6.7), which the host must acknowledge.
      byte[] ping = {0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
      pair.writeAll(ByteBuffer.wrap(settings));
      ByteBuffer pings = ByteBuffer.allocate(ping.length * 1000);
      while (pings.hasRemaining()) {
        pings.put(ping);
      }
      pings.flip();
      while (!pair.client.disconnected().isDone()) {
        if (!pair.writeAll(pings.duplicate())) {
          break;
        }
      }
      pair.client.disconnected().get();
      assertThrows(ExecutionException.class, info::get);
    }
  }

  @Test
  void guestThatMakesTheHostAnswerWithoutEndIsDisconnected() throws Exception {
    try (AgentPair pair = new AgentPair(null, AgentPair.LARGE, 29)) {
      CompletableFuture<AgentInfo> info = pair.client.getInfo();
      byte[] ping = {0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
      pair.writeAll(ByteBuffer.wrap(new byte[] {0, 0, 0, 4, 0, 0, 0, 0, 0}));
      ByteBuffer answers = ByteBuffer.allocate(1 << 16);
      // It reads the answers, so that they pile up nowhere.
      while (!pair.client.disconnected().isDone() && pair.writeAll(ByteBuffer.wrap(ping))) {
        try {
          pair.guest.read(answers.clear());
        } catch (IOException e) {
          break;
        }
      }
      pair.client.disconnected().get();
      assertThrows(ExecutionException.class, info::get);
    }
  }

  @Test
  void messagesThatNoAgentMaySendEndTheProcess() throws Exception {
    RunProcessResponse started =
        RunProcessResponse.newBuilder().setStarted(Started.newBuilder().setProcessId(9)).build();
    RunProcessResponse empty = RunProcessResponse.newBuilder().setStdout(ByteString.EMPTY).build();
    Map<String, FakeProgram> programs =
        Map.of(
            "starts-twice", sends(started),
            "no-output", sends(empty),
            "held-late",
                sends(
                    RunProcessResponse.newBuilder()
                        .setCreated(Created.newBuilder().setProcessId(9))
                        .build()),
            "unknown", sends(RunProcessResponse.getDefaultInstance()),
            "exit-code-1000", sends(exit(Exited.newBuilder().setExitCode(1000))),
            "signal-0", sends(exit(Exited.newBuilder().setSignal(0))),
            "no-status", sends(exit(Exited.newBuilder())),
            "too-long",
                sends(
                    RunProcessResponse.newBuilder()
                        .setStdout(ByteString.copyFrom(new byte[1 << 20]))
                        .build()));
    try (AgentPair pair = AgentPair.with(programs, AgentPair.LARGE, 14)) {
      for (String program : programs.keySet()) {
        RecordingListener listener = new RecordingListener();
        pair.run(request(false, program), listener, null);
        assertEquals(Kind.MISBEHAVED, listener.failure.get().kind(), program);
      }
      assertEquals("1.2.3", pair.client.getInfo().get().agentVersion());
    }
  }

  private static RunProcessResponse exit(Exited.Builder exited) {
    return RunProcessResponse.newBuilder().setExited(exited).build();
  }

  private static FakeProgram sends(RunProcessResponse response) {
    return process -> {
      process.send(response);
      return process.awaitSignal();
    };
  }

  /** Answers the first GetInfo and the start of a process, and nothing else. */
  private static final class FallingSilent extends AgentGrpc.AgentImplBase {
    private final AtomicLong asked = new AtomicLong();
    private final List<String> features;
    final CompletableFuture<Void> cancelled = new CompletableFuture<>();
    private final @Nullable RunProcessResponse answer;

    FallingSilent(@Nullable RunProcessResponse answer, String... features) {
      this.answer = answer;
      this.features = List.of(features);
    }

    @Override
    public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> responses) {
      if (asked.getAndIncrement() == 0) {
        responses.onNext(GetInfoResponse.newBuilder().addAllFeatures(features).build());
        responses.onCompleted();
      }
    }

    @Override
    public StreamObserver<RunProcessRequest> runProcess(
        StreamObserver<RunProcessResponse> responses) {
      ((ServerCallStreamObserver<RunProcessResponse>) responses)
          .setOnCancelHandler(() -> cancelled.complete(null));
      return new Ignoring() {
        @Override
        public void onNext(RunProcessRequest request) {
          if (answer != null) {
            responses.onNext(STARTED);
            responses.onNext(answer);
          }
        }
      };
    }
  }

  private static final RunProcessResponse STARTED =
      RunProcessResponse.newBuilder()
          .setStarted(Started.newBuilder().setProcessId(1).setPid(2))
          .build();

  /** Requests that are of no interest. */
  private static class Ignoring implements StreamObserver<RunProcessRequest> {
    @Override
    public void onNext(RunProcessRequest request) {}

    @Override
    public void onError(Throwable failure) {}

    @Override
    public void onCompleted() {}
  }

  @Test
  void guestThatFallsSilentIsDisconnected() throws Exception {
    try (AgentPair pair = new AgentPair(new FallingSilent(null), AgentPair.LARGE, 21)) {
      pair.client.getInfo().get();
      RecordingListener listener = new RecordingListener();
      pair.run(request(false, "any"), listener, null);
      pair.client.watchLiveness(Duration.ofMillis(1), Duration.ofMillis(20));
      pair.client.disconnected().get();
      assertTrue(pair.client.wasSilent());
      assertEquals(Kind.DISCONNECTED, listener.failure.get().kind());
    }
  }

  @Test
  void guestIsNotFoundSilentWhileItsMachineStands() throws Exception {
    try (AgentPair pair = new AgentPair(new FallingSilent(null), AgentPair.LARGE, 25)) {
      pair.client.getInfo().get();
      RecordingListener listener = new RecordingListener();
      pair.client.pause();
      pair.run(request(false, "any"), listener, Duration.ofMillis(20));
      pair.client.watchLiveness(Duration.ofMillis(1), Duration.ofMillis(20));
      Thread.sleep(200);
      assertFalse(pair.client.wasSilent());
      assertFalse(listener.failure.isDone());
      pair.client.resume();
      Kind kind = listener.failure.get().kind();
      // Whichever comes first.
      assertTrue(kind == Kind.TIMED_OUT || kind == Kind.DISCONNECTED, kind::toString);
      pair.client.disconnected().get();
      assertTrue(pair.client.wasSilent());
    }
  }

  @Test
  void processIsGivenUpAtItsDeadline() throws Exception {
    FallingSilent agent = new FallingSilent(null);
    try (AgentPair pair = new AgentPair(agent, AgentPair.LARGE, 26)) {
      // The agent is to hear of the process before that is given up.
      pair.client.getInfo().get();
      RecordingListener listener = new RecordingListener();
      pair.run(request(false, "any"), listener, Duration.ofSeconds(1));
      assertEquals(Kind.TIMED_OUT, listener.failure.get().kind());
      agent.cancelled.get();
    }
  }

  @Test
  void guestThatAnswersIsNotSilentHoweverLittleItSays() throws Exception {
    CompletableFuture<Void> asked = new CompletableFuture<>();
    AgentGrpc.AgentImplBase terse =
        new AgentGrpc.AgentImplBase() {
          private int calls;

          @Override
          public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> responses) {
            responses.onNext(GetInfoResponse.getDefaultInstance());
            responses.onCompleted();
            if (++calls == 5) {
              asked.complete(null);
            }
          }
        };
    try (AgentPair pair = new AgentPair(terse, AgentPair.LARGE, 22)) {
      pair.client.getInfo().get();
      pair.client.watchLiveness(Duration.ofMillis(1), Duration.ofMinutes(1));
      asked.get();
      pair.client.getInfo().get();
      assertFalse(pair.client.wasSilent());
    }
  }

  /** Many times longer than after which a guest is asked whether it is there. */
  @Test
  void processThatSaysNothingIsNotGivenUp() throws Exception {
    CompletableFuture<Void> asked = new CompletableFuture<>();
    AgentGrpc.AgentImplBase quiet =
        new AgentGrpc.AgentImplBase() {
          private int calls;

          @Override
          public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> responses) {
            responses.onNext(GetInfoResponse.getDefaultInstance());
            responses.onCompleted();
            if (++calls == 20) {
              asked.complete(null);
            }
          }

          @Override
          public StreamObserver<RunProcessRequest> runProcess(
              StreamObserver<RunProcessResponse> responses) {
            responses.onNext(STARTED);
            asked.thenRun(
                () -> {
                  responses.onNext(exit(Exited.newBuilder().setExitCode(7)));
                  responses.onCompleted();
                });
            return new Ignoring();
          }
        };
    try (AgentPair pair = new AgentPair(quiet, AgentPair.LARGE, 27)) {
      RecordingListener listener = new RecordingListener();
      pair.run(request(false, "any"), listener, null);
      pair.client.watchLiveness(Duration.ofMillis(1), Duration.ofMinutes(1));
      assertEquals(7, listener.exit.get().exitCode());
      assertFalse(pair.client.wasSilent());
    }
  }

  @Test
  void processThatTheGuestNeitherStartsNorRefusesIsGivenUp() throws Exception {
    FallingSilent agent = new FallingSilent(null);
    try (AgentPair pair = new AgentPair(agent, AgentPair.LARGE, 23)) {
      RecordingListener listener = new RecordingListener();
      ProcessRequest request = request(null, false, 1, false, Outputs.APART, false, "any");
      pair.run(request, listener, null);
      assertEquals(Kind.START_TIMED_OUT, listener.failure.get().kind());
      agent.cancelled.get();
    }
  }

  @Test
  void callThatDoesNotEndAfterItsProcessIsCancelled() throws Exception {
    FallingSilent agent = new FallingSilent(exit(Exited.newBuilder().setExitCode(3)));
    try (AgentPair pair = new AgentPair(agent, AgentPair.LARGE, 24)) {
      RecordingListener listener = new RecordingListener();
      pair.run(request(false, "any"), listener, null);
      assertEquals(3, listener.exit.get().exitCode());
      agent.cancelled.get();
      assertFalse(listener.failure.isDone());
    }
  }

  @Test
  void whatTheGuestSaysOfAnEndIsTold() throws Exception {
    Exited exited =
        Exited.newBuilder()
            .setExitCode(0)
            .setOutputsAbandoned(true)
            .setOomKilledElsewhere(true)
            .setTreePeakMemoryBytes(-1)
            .build();
    FallingSilent agent = new FallingSilent(exit(exited.toBuilder()));
    try (AgentPair pair = new AgentPair(agent, AgentPair.LARGE, 25)) {
      RecordingListener listener = new RecordingListener();
      pair.run(request(false, "any"), listener, null);
      ExitStatus status = listener.exit.get();
      assertTrue(status.outputsAbandoned() && status.oomKilledElsewhere() && !status.oomKilled());
      assertEquals(Optional.of(DataSize.bytes(Long.MAX_VALUE)), status.treePeakMemory());
    }
  }

  private static void assertLacks(AgentPair pair, String feature, boolean pidOne, Outputs outputs)
      throws Exception {
    RecordingListener listener = new RecordingListener();
    ProcessRequest request = request(null, true, 0, pidOne, outputs, false, "hang");
    pair.run(request, listener, null);
    AgentException failure = listener.failure.get();
    assertEquals(Kind.REFUSED, failure.kind());
    assertEquals("the guest agent lacks the feature " + feature, failure.getMessage());
  }

  @Test
  void agentThatIsTooOldIsAskedForNothingItLacks() throws Exception {
    FakeProgram hang = process -> process.awaitSignal();
    FakeAgent old = new FakeAgent(Map.of("hang", hang), () -> {}, List.of());
    try (AgentPair pair = new AgentPair(old, AgentPair.LARGE, 26)) {
      pair.client.getInfo().get();
      RecordingListener listener = new RecordingListener();
      AgentProcess process = pair.run(request(false, "hang"), listener, null);
      listener.started.get();
      assertEquals(Kind.REFUSED, failureOf(pair.client.processes()));
      assertEquals(
          Kind.REFUSED, failureOf(pair.client.signal(process.id(), Signal.KILL, SignalScope.TREE)));
      pair.client.signal(process.id(), Signal.USR1, SignalScope.GROUP).get();
      assertEquals(Signal.USR1.number(), listener.exit.get().exitCode());

      RecordingListener other = new RecordingListener();
      AgentProcess killed = pair.run(request(false, "hang"), other, null);
      other.started.get();
      pair.client.kill(killed).get();
      assertEquals(Kind.CANCELLED, other.failure.get().kind());
      old.awaitProcesses(0);

      assertLacks(pair, "pid-one", true, Outputs.APART);
      assertLacks(pair, "merge-stderr", false, new Outputs(true, false, false));
      assertLacks(pair, "discard-output", false, new Outputs(false, true, false));
      assertLacks(pair, "discard-output", false, new Outputs(false, false, true));
      GuestDisk virtio = new GuestDisk.VirtioSerial("root");
      GuestDisk scsi = new GuestDisk.Scsi(new UUID(1, 2), 0);
      ContainerSpec readOnly = ContainerSpec.builder().readOnlyRoot(true).build();
      for (Workload workload :
          List.of(
              new Workload(
                  virtio,
                  null,
                  0,
                  1 << 20,
                  "box",
                  0,
                  Map.of(),
                  ContainerSpec.DEFAULT,
                  List.of(),
                  null),
              new Workload(
                  scsi, null, 0, 0, "box", 0, Map.of(), ContainerSpec.DEFAULT, List.of(), null),
              new Workload(
                  virtio, scsi, 0, 0, "box", 0, Map.of(), ContainerSpec.DEFAULT, List.of(), null),
              new Workload(virtio, null, 0, 0, "box", 0, Map.of(), readOnly, List.of(), null),
              new Workload(
                  virtio,
                  null,
                  0,
                  0,
                  "box",
                  0,
                  Map.of(),
                  ContainerSpec.DEFAULT,
                  List.of(),
                  new Workload.Network(false)))) {
        assertEquals(Kind.REFUSED, failureOf(pair.client.prepare(workload, 0, new byte[0])));
      }
      assertEquals(List.of(), old.prepared());
    }
  }

  @Test
  void processesAreListedPageByPage() throws Exception {
    FakeProgram hang = process -> process.awaitSignal();
    try (AgentPair pair = AgentPair.with(Map.of("hang", hang), AgentPair.LARGE, 27)) {
      pair.client.getInfo().get();
      for (int i = 0; i < 5; i++) {
        RecordingListener listener = new RecordingListener();
        pair.run(request(false, "hang", "" + i), listener, null);
        listener.started.get();
      }
      List<GuestProcessInfo> all = pair.client.processes().get();
      assertEquals(
          List.of("hang 0", "hang 1", "hang 2", "hang 3", "hang 4"),
          all.stream().map(GuestProcessInfo::command).toList());
      assertTrue(all.get(0).running());
      assertTrue(all.get(0).startedAt().isBefore(java.time.Instant.now()));
      assertThrows(UnsupportedOperationException.class, () -> all.remove(0));
    }
  }

  @Test
  void aProcessThatIsNotHeldThoughItWasToBeIsGivenUp() throws Exception {
    CompletableFuture<Void> cancelled = new CompletableFuture<>();
    AgentGrpc.AgentImplBase hostile =
        new AgentGrpc.AgentImplBase() {
          @Override
          public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> responses) {
            responses.onNext(GetInfoResponse.newBuilder().addFeatures("hold").build());
            responses.onCompleted();
          }

          @Override
          public StreamObserver<RunProcessRequest> runProcess(
              StreamObserver<RunProcessResponse> responses) {
            ((ServerCallStreamObserver<RunProcessResponse>) responses)
                .setOnCancelHandler(() -> cancelled.complete(null));
            return new StreamObserver<>() {
              @Override
              public void onNext(RunProcessRequest request) {
                assertTrue(request.getStart().getHold());
                responses.onNext(
                    RunProcessResponse.newBuilder()
                        .setStarted(Started.newBuilder().setProcessId(1))
                        .build());
              }

              @Override
              public void onError(Throwable failure) {}

              @Override
              public void onCompleted() {}
            };
          }
        };
    try (AgentPair pair = new AgentPair(hostile, AgentPair.LARGE, 28)) {
      pair.client.getInfo().get();
      RecordingListener listener = new RecordingListener();
      ProcessRequest held = request(null, false, 0, false, Outputs.APART, true, "any");
      AgentProcess process = pair.run(held, listener, null);
      assertEquals(Kind.MISBEHAVED, listener.failure.get().kind());
      cancelled.get();
      assertFalse(listener.started.isDone());
      // Which does nothing now.
      process.release();
    }
  }

  @Test
  void listsThatMightNeverEndAreRefused() throws Exception {
    for (ListProcessesResponse page :
        List.of(
            ListProcessesResponse.newBuilder().setMore(true).build(),
            ListProcessesResponse.newBuilder()
                .addProcesses(ProcessInfo.newBuilder().setProcessId(1))
                .setMore(true)
                .build(),
            ListProcessesResponse.newBuilder()
                .addProcesses(ProcessInfo.newBuilder().setProcessId(-1))
                .build())) {
      AgentGrpc.AgentImplBase hostile =
          new AgentGrpc.AgentImplBase() {
            @Override
            public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> responses) {
              responses.onNext(GetInfoResponse.newBuilder().addFeatures("process-list").build());
              responses.onCompleted();
            }

            @Override
            public void listProcesses(
                ListProcessesRequest request, StreamObserver<ListProcessesResponse> responses) {
              responses.onNext(page);
              responses.onCompleted();
            }
          };
      try (AgentPair pair = new AgentPair(hostile, AgentPair.LARGE, 28)) {
        pair.client.getInfo().get();
        assertEquals(Kind.MISBEHAVED, failureOf(pair.client.processes()));
      }
    }
  }

  @Test
  void textOfTheGuestIsCleanedAndCut() throws Exception {
    AgentGrpc.AgentImplBase hostile =
        new AgentGrpc.AgentImplBase() {
          @Override
          public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> responses) {
            responses.onNext(
                GetInfoResponse.newBuilder()
                    .setKernelRelease("a\u001b[31m\r\nb\u202ec")
                    .setKernelVersion("x".repeat(100_000))
                    .setMemoryBytes(-1)
                    .setCpus(-1)
                    .build());
            responses.onCompleted();
          }
        };
    try (AgentPair pair = new AgentPair(hostile, AgentPair.LARGE, 15)) {
      AgentInfo info = pair.client.getInfo().get();
      assertEquals("a [31m  b c", info.kernelRelease());
      assertEquals(1000, info.kernelVersion().length());
      assertEquals(Long.MAX_VALUE, info.memoryBytes());
      assertEquals(0, info.cpus());
    }
  }

  @Test
  void refusalCarriesTheAgentsWords() throws Exception {
    AgentGrpc.AgentImplBase refusing =
        new AgentGrpc.AgentImplBase() {
          @Override
          public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> responses) {
            responses.onError(
                Status.FAILED_PRECONDITION.withDescription("mount /dev: EBUSY").asException());
          }
        };
    try (AgentPair pair = new AgentPair(refusing, AgentPair.LARGE, 16)) {
      ExecutionException e =
          assertThrows(ExecutionException.class, () -> pair.client.getInfo().get());
      AgentException failure = assertInstanceOf(AgentException.class, e.getCause());
      assertEquals(Kind.REFUSED, failure.kind());
      assertEquals("mount /dev: EBUSY", failure.getMessage());
    }
  }

  @Test
  void signalsAreToldAsShellsDo() throws Exception {
    FakeProgram program = process -> process.awaitSignal();
    try (AgentPair pair = AgentPair.with(Map.of("hang", program), AgentPair.SMALL, 17)) {
      RecordingListener listener = new RecordingListener();
      AgentProcess process = pair.run(request(false, "hang"), listener, null);
      listener.started.get();
      pair.client.signal(process.id(), Signal.KILL, SignalScope.GROUP).get();
      ExitStatus status = listener.exit.get();
      assertEquals(137, status.exitCode());
      assertEquals(Optional.of(Signal.KILL), status.signal());
    }
  }
}
