// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestIOException;
import dev.nacelle.GuestProcess;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.OnLimit;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.StandardStream;
import dev.nacelle.agent.FakeProcess;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.fake.FakeMachine;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
@ExtendWith(NettyLeaks.class)
class StreamedExecTest extends SharedSandboxTest {
  @Test
  void bothOutputsComeToTheCallersThreadInOrder() {
    List<String> pieces = new ArrayList<>();
    Thread caller = Thread.currentThread();
    ExitStatus status =
        sandbox.exec(
            ProcessSpec.of("both"),
            (stream, bytes) -> {
              assertSame(caller, Thread.currentThread());
              pieces.add(stream + " " + new String(bytes, StandardCharsets.UTF_8));
            });
    assertEquals(7, status.exitCode());
    assertEquals(List.of("STDOUT out", "STDERR err"), pieces);
  }

  @Test
  void whatTheConsumerThrowsComesBackAsItselfAndKillsTheProcess() throws Exception {
    try (Sandbox own = fake.start()) {
      FakeMachine machine = fake.machine();
      IOException mine = new IOException("the reader has gone");
      IOException thrown =
          assertThrows(
              IOException.class,
              () ->
                  own.exec(
                      ProcessSpec.of("flood", "100"),
                      (stream, bytes) -> {
                        throw mine;
                      }));
      assertSame(mine, thrown);
      machine.agent().awaitProcesses(0);
      assertEquals("on\n", own.exec("echo", "on").stdout().text());
    }
  }

  @Test
  void processWaitsForAConsumerThatTakesItsTimeAndNothingIsLost() {
    try (Sandbox own = fake.start()) {
      FakeMachine machine = fake.machine();
      long[] taken = new long[1];
      ExitStatus status =
          own.exec(
              ProcessSpec.of("flood", "8"),
              (stream, bytes) -> {
                if (taken[0] == 0) {
                  FakeProcess process = machine.agent().processes().get(0);
                  process.blocked().join();
                  // Time enough for one that does not wait: these go the same way.
                  for (int i = 0; i < 200; i++) {
                    own.exec("true");
                  }
                  // 256 KiB and a piece here, a window of HTTP/2, and what the fake guest holds.
                  assertTrue(process.written() <= 1 << 20, () -> process.written() + " bytes");
                }
                taken[0] += bytes.length;
              });
      assertTrue(status.succeeded());
      assertEquals(16 << 20, taken[0]);
    }
  }

  @Test
  void atMost256KibibytesAndAPieceWaitForTheConsumer() {
    try (Sandbox own = fake.start()) {
      FakeMachine machine = fake.machine();
      List<Integer> pieces = new ArrayList<>();
      assertThrows(
          SandboxEndedException.class,
          () ->
              own.exec(
                  ProcessSpec.of("flood", "8"),
                  (stream, bytes) -> {
                    if (pieces.isEmpty()) {
                      machine.agent().processes().get(0).blocked().join();
                      for (int i = 0; i < 200; i++) {
                        own.exec("true");
                      }
                      // From now on nothing more arrives: what still comes has waited here.
                      // Of a machine that ended by itself gRPC hands out what it has, too.
                      own.kill();
                      own.onExit().join();
                    }
                    pieces.add(bytes.length);
                  }));
      int waited = pieces.stream().skip(1).mapToInt(piece -> piece).sum();
      assertTrue(waited > 192 << 10 && waited <= 320 << 10, () -> waited + " bytes");
    }
  }

  @Test
  void interruptedCallerKillsTheProcess() throws Exception {
    try (Sandbox own = fake.start()) {
      FakeMachine machine = fake.machine();
      for (String command : List.of("hang", "flood")) {
        CompletableFuture<Throwable> outcome = new CompletableFuture<>();
        Thread caller =
            new Thread(
                () -> {
                  try {
                    own.exec(ProcessSpec.of(command, "1000"), (stream, bytes) -> {});
                  } catch (Throwable e) {
                    outcome.complete(e);
                  }
                });
        caller.start();
        machine.agent().awaitProcesses(1);
        caller.interrupt();
        assertInstanceOf(InterruptedOperationException.class, outcome.get());
        machine.agent().awaitProcesses(0);
      }
      assertEquals("on\n", own.exec("echo", "on").stdout().text());
    }
  }

  @Test
  void limitKillsWhatIsStreamedByReadingToo() throws IOException {
    ProcessSpec spec =
        ProcessSpec.builder("flood", "1000").outputLimit(DataSize.bytes(100), OnLimit.KILL).build();
    try (GuestProcess process = sandbox.start(spec)) {
      assertEquals(100, process.stdout().readAllBytes().length);
      ExitStatus status = process.waitFor();
      assertEquals(137, status.exitCode());
      assertTrue(status.outputTruncated());
      assertTrue(process.stderr().readAllBytes().length <= 100);
    }
  }

  @Test
  void limitTruncatesOrKills() {
    ProcessSpec spec = ProcessSpec.builder("flood", "1").outputLimit(DataSize.bytes(100)).build();
    long[] counts = new long[2];
    ExitStatus cut =
        sandbox.exec(spec, (stream, bytes) -> counts[stream.ordinal()] += bytes.length);
    assertEquals(100, counts[0]);
    assertEquals(100, counts[1]);
    assertEquals(0, cut.exitCode());
    assertTrue(cut.outputTruncated());
    ExecResult killed =
        sandbox.exec(
            ProcessSpec.builder("flood", "1000")
                .outputLimit(DataSize.bytes(100), OnLimit.KILL)
                .build());
    assertEquals(137, killed.exitCode());
    assertTrue(killed.status().outputTruncated());
    assertEquals(100, killed.stdout().length());
  }

  @Test
  void startHonoursTheLimitAndTheEndOfStdin() throws IOException {
    ProcessSpec spec =
        ProcessSpec.builder("cat")
            .stdin(new ByteArrayInputStream(new byte[1000]))
            .outputLimit(DataSize.bytes(10))
            .build();
    try (GuestProcess process = sandbox.start(spec)) {
      assertEquals(10, process.stdout().readAllBytes().length);
      assertTrue(process.waitFor().outputTruncated());
      assertThrows(GuestIOException.class, () -> process.stdin().write(1));
    }
  }

  @Test
  void stderrIsMergedOrDiscarded() {
    ExecResult merged = sandbox.exec(ProcessSpec.builder("both").mergeStderr(true).build());
    assertEquals("outerr", merged.stdout().text());
    assertEquals("", merged.stderr().text());
    ExecResult quiet =
        sandbox.exec(ProcessSpec.builder("both").discard(StandardStream.STDERR).build());
    assertEquals("out", quiet.stdout().text());
    assertEquals("", quiet.stderr().text());
    assertFalse(quiet.status().outputTruncated());
  }

  @Test
  void stdinIsAFile(@TempDir Path directory) throws IOException {
    Path file = Files.writeString(directory.resolve("in"), "x".repeat(100_000));
    ExecResult result = sandbox.exec(ProcessSpec.builder("cat").stdin(file).build());
    assertEquals("x".repeat(100_000), result.stdout().text());
  }

  @Test
  void stdinThatCannotBeReadIsToldFromTheGuestsFailure() {
    IOException mine = new IOException("the sender has gone");
    InputStream broken =
        new InputStream() {
          @Override
          public int read() throws IOException {
            throw mine;
          }
        };
    ProcessException e =
        assertThrows(
            ProcessException.class,
            () -> sandbox.exec(ProcessSpec.builder("cat").stdin(broken).build()));
    assertEquals(ProcessException.Reason.STDIN_FAILED, e.reason());
    assertSame(mine, e.getCause());
  }

  @Test
  void failureIsThrownWithTheEndOfStderr() {
    ProcessException e = assertThrows(ProcessException.class, () -> sandbox.exec("both").orThrow());
    assertEquals(ProcessException.Reason.FAILED, e.reason());
    assertEquals(7, e.exitStatus().orElseThrow().exitCode());
    assertTrue(e.getMessage().endsWith("err"), e::getMessage);
    assertTrue(sandbox.exec(List.of("true")).orThrow().succeeded());
  }

  @Test
  void startWithoutWaiting() {
    try (GuestProcess process = sandbox.startAsync(ProcessSpec.of("true")).join()) {
      assertEquals(0, process.waitFor().exitCode());
    }
  }

  @Test
  void commandsAreTakenByAllThatRunThem() throws IOException {
    List<String> echo = List.of("echo", "on");
    for (ExecResult result :
        List.of(
            sandbox.exec("echo", "on"),
            sandbox.exec(echo),
            sandbox.execAsync("echo", "on").join(),
            sandbox.execAsync(echo).join())) {
      assertEquals("on\n", result.stdout().text());
    }
    for (GuestProcess started :
        List.of(
            sandbox.start("echo", "on"),
            sandbox.start(echo),
            sandbox.startAsync("echo", "on").join(),
            sandbox.startAsync(echo).join())) {
      try (GuestProcess process = started) {
        assertEquals("on\n", new String(process.stdout().readAllBytes(), StandardCharsets.UTF_8));
      }
    }
  }

  @Test
  void startWithoutWaitingFailsAsStartingDoes() {
    ProcessSpec unknown = ProcessSpec.builder("true").user("nobody-knows").build();
    ProcessException e = startFailure(sandbox, unknown, ProcessException.class);
    assertEquals(ProcessException.Reason.UNKNOWN_USER, e.reason());
    Sandbox ended = fake.start();
    ended.close();
    startFailure(ended, ProcessSpec.of("true"), SandboxEndedException.class);
  }

  private static <X extends Throwable> X startFailure(
      Sandbox sandbox, ProcessSpec process, Class<X> type) {
    CompletableFuture<GuestProcess> starting = sandbox.startAsync(process);
    ExecutionException e = assertThrows(ExecutionException.class, starting::get);
    return assertInstanceOf(type, e.getCause());
  }

  @Test
  void cancellingAStartKillsTheProcess() throws Exception {
    ProcessSpec spec = ProcessSpec.builder("true").startTimeout(Duration.ofMinutes(10)).build();
    try (FakeNacelle silent = new FakeNacelle(Fault.NEVER_STARTS_PROCESSES);
        Sandbox own = silent.start()) {
      CompletableFuture<GuestProcess> starting = own.startAsync(spec);
      assertTrue(starting.cancel(true));
      silent.machine().startGivenUp().get();
      assertTrue(own.isAlive());
    }
  }
}
