// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.function.Executable;

/**
 * Every call of a sandbox that waits for its guest, all under way at once, each on a thread of its
 * own: what waits for long is waited for, and what is answered at once is called again and again.
 * When the sandbox ends, each must have one and the same outcome.
 */
public final class WaitingCalls implements AutoCloseable {
  private static final Duration HOUR = Duration.ofHours(1);

  /** Ends nobody. */
  private static final Signal CONTINUE = new Signal(18);

  private static final TerminalSize SIZE = new TerminalSize(24, 80);

  /**
   * What there is in the guest.
   *
   * @param sleeping a command that neither reads nor writes
   * @param file a file whose content takes a while to come
   * @param port on which somebody accepts, and neither reads nor writes
   * @param closedPort on which nobody accepts
   * @param rest between the answer to a call and the next, so that the guest has time for others
   */
  public record Guest(
      List<String> sleeping, String file, int port, int closedPort, Duration rest) {}

  private final Sandbox sandbox;
  private final Guest guest;
  private final Path directory;
  private final Map<String, CompletableFuture<Throwable>> outcomes = new LinkedHashMap<>();
  private final PipedOutputStream unwritten = new PipedOutputStream();
  private CountDownLatch begun = new CountDownLatch(0);

  private WaitingCalls(Sandbox sandbox, Guest guest, Path directory) {
    this.sandbox = sandbox;
    this.guest = guest;
    this.directory = directory;
  }

  /**
   * Begins all.
   *
   * @param directory of this host, for copies
   * @param deafen called when all is there that the calls are about: from then on the guest may
   *     answer nothing
   */
  public static WaitingCalls begin(Sandbox sandbox, Guest guest, Path directory, Runnable deafen)
      throws Exception {
    WaitingCalls calls = new WaitingCalls(sandbox, guest, directory);
    Map<String, Callable<?>> all = calls.prepare();
    deafen.run();
    calls.begun = new CountDownLatch(all.size());
    all.forEach(calls::start);
    calls.begun.await();
    // What has begun waits, if not now, then soon.
    Thread.sleep(200);
    return calls;
  }

  private ProcessSpec.Builder sleeping() {
    return ProcessSpec.builder(guest.sleeping);
  }

  /** The calls by their names; each is called again when it returns. */
  private Map<String, Callable<?>> prepare() throws Exception {
    final GuestProcess process = sandbox.start(guest.sleeping);
    final GuestProcess stopped = sandbox.start(sleeping().stopSignal(CONTINUE).build());
    final GuestProcess unheeding = sandbox.start(guest.sleeping);
    final GuestProcess terminal = sandbox.start(sleeping().terminal(SIZE).build());
    final GuestProcess attached = sandbox.attach(sandbox.startDetached(sleeping().build()).id());
    final GuestSocket socket = sandbox.connect(guest.port);
    final GuestSocket other = sandbox.connect(guest.port);
    final GuestProcessInfo info = sandbox.processes().get(0);
    final GuestFiles files = sandbox.files();
    final InputStream file = files.open(guest.file);
    final byte[] piece = new byte[64 << 10];
    final Path tree = Files.createDirectories(directory.resolve("tree"));
    Files.write(tree.resolve("file"), piece);

    Map<String, Callable<?>> calls = new LinkedHashMap<>();
    calls.put("exec", () -> sandbox.exec(guest.sleeping));
    calls.put("exec, streamed", () -> sandbox.exec(sleeping().build(), (stream, bytes) -> {}));
    PipedInputStream unread = new PipedInputStream(unwritten);
    calls.put("exec, with a stdin", () -> sandbox.exec(sleeping().stdin(unread).build()));
    calls.put("execAsync", () -> sandbox.execAsync(guest.sleeping).get());
    calls.put("start", () -> closed(sandbox.start(guest.sleeping)));
    calls.put("startAsync", () -> closed(sandbox.startAsync(guest.sleeping).get()));
    calls.put(
        "startDetached",
        () -> sandbox.attach(sandbox.startDetached(guest.sleeping).id()).stop(Duration.ZERO));
    calls.put("waitFor", process::waitFor);
    calls.put("waitFor with a time", () -> process.waitFor(HOUR));
    calls.put("onExit of a process", () -> process.onExit().get());
    calls.put("waitFor of the JDK's", () -> process.toProcess().waitFor());
    // A guest that is stuck before it has answered is given up on, and what it stopped with it.
    calls.put("stop", () -> List.of(stopped.stop(HOUR), sandbox.guestStatistics()));
    calls.put("stdout", () -> process.stdout().read());
    calls.put("stderr", () -> process.stderr().read());
    calls.put("stdin", () -> written(() -> unheeding.stdin().write(piece)));
    calls.put("signal", () -> written(() -> process.signal(CONTINUE)));
    calls.put("resize", () -> written(() -> terminal.resize(SIZE)));
    calls.put("waitFor of one attached to", attached::waitFor);
    calls.put("stdout of one attached to", () -> attached.stdout().read());
    calls.put("stdin of one attached to", () -> written(() -> attached.stdin().write(piece)));
    calls.put("processes", sandbox::processes);
    calls.put(
        "signal of one listed",
        () -> written(() -> sandbox.signal(info, CONTINUE, SignalScope.TREE)));
    calls.put("statistics", sandbox::guestStatistics);
    calls.put("a file's info", () -> files.info("/etc"));
    calls.put("files' list", () -> files.list("/etc"));
    calls.put("a file's content", () -> files.read("/etc/passwd"));
    calls.put("a file to the host", () -> written(() -> files.read("/etc/passwd", copy())));
    calls.put("a file's stream", () -> file.read(piece));
    calls.put("a file written", () -> written(() -> files.write("/tmp/written", piece)));
    calls.put("a stream written", () -> written(() -> files.write("/tmp/long", new Slow())));
    calls.put("a directory", () -> written(() -> files.makeDirectories("/tmp/made/of")));
    calls.put("a tree to the host", () -> files.readTree("/etc", copy()));
    calls.put(
        "a tree from the host", () -> written(() -> files.writeTree("/tmp/tree", tree, 0, 0)));
    calls.put("a tar", () -> files.openTar("/etc").readAllBytes());
    calls.put("connect", () -> closed(sandbox.connect(guest.closedPort)));
    // Both end before the sandbox where their process does.
    calls.put(
        "a socket's input",
        () -> socket.input().read() >= 0 ? socket : closed(sandbox.connect(guest.port)));
    calls.put("a socket's output", () -> written(() -> write(other, piece)));
    return calls;
  }

  private void write(GuestSocket socket, byte[] piece) throws Exception {
    try {
      socket.output().write(piece);
    } catch (GuestIOException e) {
      if (e.getCause() instanceof SandboxEndedException) {
        throw e;
      }
      var unused = closed(sandbox.connect(guest.port));
    }
  }

  private Path copy() throws IOException {
    return Files.createTempDirectory(directory, "copy").resolve("copy");
  }

  private static Object closed(AutoCloseable made) throws Exception {
    made.close();
    return made;
  }

  private static Object written(Executable call) throws Exception {
    try {
      call.execute();
    } catch (Exception | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
    return call;
  }

  private void start(String name, Callable<?> call) {
    CompletableFuture<Throwable> outcome = new CompletableFuture<>();
    outcomes.put(name, outcome);
    Thread thread =
        new Thread(
            () -> {
              begun.countDown();
              outcome.complete(untilItFails(call));
            },
            "waiting: " + name);
    thread.setDaemon(true);
    thread.start();
  }

  private Throwable untilItFails(Callable<?> call) {
    while (true) {
      try {
        Object unused = call.call();
      } catch (Throwable e) {
        Throwable failure = e instanceof ExecutionException ? e.getCause() : e;
        if (!isAnAnswerThatWasMissed(failure)) {
          return failure;
        }
      }
      try {
        Thread.sleep(guest.rest.toMillis());
      } catch (InterruptedException e) {
        return e;
      }
    }
  }

  /**
   * Whether it says that the guest did not answer in time, as that of one that is stuck but not
   * given up yet; or that nobody listens.
   */
  private static boolean isAnAnswerThatWasMissed(Throwable failure) {
    return failure instanceof ProcessException e
            && (e.reason() == ProcessException.Reason.GUEST_MISBEHAVED
                    && e.getMessage().contains("did not answer in time")
                || e.reason() == ProcessException.Reason.TIMED_OUT)
        || failure instanceof GuestIOException io
            && (io.getMessage().contains("nobody listens")
                || io.getMessage().contains("did not answer a connect")
                || io.getMessage().contains("the machine does not answer"));
  }

  /** What is written slower than a limit could be reached, and has no end. */
  private static final class Slow extends InputStream {
    @Override
    public int read() {
      throw new UnsupportedOperationException();
    }

    @Override
    public int read(byte[] target, int offset, int length) throws IOException {
      try {
        Thread.sleep(50);
      } catch (InterruptedException e) {
        throw new IOException(e);
      }
      return Math.min(length, 1024);
    }
  }

  /**
   * Waits until all have ended, and fails unless each was told the same: that the sandbox has
   * ended, why, and what its console said last, where that matters.
   *
   * @param console what is to be among the last lines, or null where the guest is not to blame
   */
  public void assertEnded(SandboxExit exit, @Nullable String console) throws Exception {
    String all = sandbox.console();
    StringBuilder wrong = new StringBuilder();
    for (Map.Entry<String, CompletableFuture<Throwable>> call : outcomes.entrySet()) {
      try {
        assertTold(exit, console, call.getValue().get(20, TimeUnit.SECONDS));
      } catch (Exception | AssertionError e) {
        wrong
            .append(call.getKey())
            .append(": ")
            .append(e)
            .append("; ")
            .append(e.getCause())
            .append('\n');
      }
    }
    assertEquals("", wrong.toString());
    assertLaterCallsAreTold(exit);
    assertEquals(all, sandbox.console());
  }

  private static void assertTold(SandboxExit exit, @Nullable String console, Throwable outcome) {
    Throwable told = outcome;
    if (outcome instanceof IOException) {
      assertInstanceOf(GuestIOException.class, outcome);
      told = outcome.getCause();
      if (told == null) {
        throw new AssertionError("without a cause: " + outcome);
      }
      assertEquals(told.getMessage(), outcome.getMessage());
    }
    if (!(told instanceof SandboxEndedException ended)) {
      throw new AssertionError("told otherwise", told);
    }
    assertEquals(Stage.RUN, ended.stage());
    assertEquals(exit.reason(), ended.exit().reason());
    assertEquals(exit.detail(), ended.exit().detail());
    assertTrue(ended.getMessage().contains(exit.detail()), ended::getMessage);
    if (console == null) {
      assertFalse(ended.getMessage().contains("console"), ended::getMessage);
    } else {
      assertTrue(ended.getMessage().contains(console), ended::getMessage);
    }
  }

  /**
   * What comes after the end is told of it at once; what is known without the guest, stays known.
   */
  private void assertLaterCallsAreTold(SandboxExit exit) {
    List<Executable> late =
        List.of(
            () -> sandbox.exec("true"),
            () -> sandbox.exec(ProcessSpec.of("true"), (stream, bytes) -> {}),
            () -> sandbox.start("true"),
            () -> sandbox.startDetached("true"),
            () -> sandbox.attach(1),
            () -> sandbox.connect(guest.port),
            () -> sandbox.processes(),
            () -> sandbox.guestStatistics(),
            () -> sandbox.streamGuestStatistics(Duration.ofSeconds(1), reading -> {}),
            () -> sandbox.streamStatistics(Duration.ofSeconds(1), reading -> {}),
            () -> sandbox.files().info("/"),
            () -> sandbox.files().open("/etc/passwd"),
            () -> sandbox.pause(),
            () -> sandbox.setMemory(sandbox.spec().memory()));
    for (Executable call : late) {
      SandboxEndedException e = assertThrows(SandboxEndedException.class, call);
      assertEquals(exit.reason(), e.exit().reason());
    }
    assertFalse(sandbox.isAlive());
    assertEquals(List.of(), sandbox.pauses());
    assertTrue(sandbox.memory().bytes() > 0);
    assertTrue(sandbox.statistics().firstRunNanoTime().isPresent());
    sandbox.kill();
    sandbox.close();
    assertEquals(exit, sandbox.onExit().join());
  }

  @Override
  public void close() throws IOException {
    unwritten.close();
  }
}
