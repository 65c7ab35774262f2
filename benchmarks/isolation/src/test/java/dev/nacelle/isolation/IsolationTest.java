// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.image.ImageRef;
import dev.nacelle.isolation.example.MyIsolations;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What every isolation of the host's kernel does, and what it leaves behind: nothing. */
class IsolationTest {
  @TempDir static Path directory;
  private static Session session;

  @BeforeAll
  static void open() throws IOException {
    session = SmallImage.session(directory);
  }

  @AfterAll
  static void close() throws IOException {
    if (session != null) {
      session.close();
      try (Stream<Path> left = Files.list(directory.resolve("work"))) {
        assertEquals(List.of(), left.toList());
      }
      SmallImage.unmount(directory);
    }
  }

  private static Isolation available(String name) throws IOException {
    Isolation isolation = session.isolation(name);
    Optional<String> unavailable = isolation.unavailable();
    assumeTrue(unavailable.isEmpty(), () -> unavailable.get());
    if (name.equals("crun")) {
      // crun takes one hierarchy of control groups or the old ones, but none of both.
      assumeTrue(
          Files.exists(Path.of("/sys/fs/cgroup/cgroup.controllers"))
              || !Files.exists(Path.of("/sys/fs/cgroup/unified")),
          "crun does not run with control groups in hybrid mode");
    }
    return isolation;
  }

  private static Workload as(String user) {
    Workload workload = session.workload();
    return new Workload(
        workload.image(),
        workload.root(),
        Map.of("PATH", "/bin", "GREETING", "good day"),
        user,
        "/tmp",
        workload.memory(),
        workload.cpus(),
        workload.service());
  }

  @ParameterizedTest
  @ValueSource(strings = {"bare", "runc", "crun"})
  void runsCommandsOfTheImageAsItsConfigurationSays(String name) throws IOException {
    try (Instance instance = available(name).start(as("worker:staff"))) {
      Output output = instance.run(List.of("sh", "-c", "echo $GREETING; pwd; id -u; id -g"));
      assertEquals("good day\n/tmp\n1000\n1002\n", output.text());
      assertEquals(0, output.exitCode());
      assertEquals(3, instance.run(List.of("sh", "-c", "exit 3")).exitCode());
      assertTrue(instance.processes().stream().allMatch(pid -> ProcessHandle.of(pid).isPresent()));
      assertEquals(name.equals("bare") ? 0 : 1, instance.processes().size());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bare", "runc", "crun"})
  void launchesAnInstanceForOneCommand(String name) throws IOException {
    Isolation isolation = available(name);
    try (Running running = isolation.launch(as("0:0"), List.of("echo", "ready"))) {
      assertEquals("ready\n", new String(running.stdout().readAllBytes()));
      assertEquals(0, running.waitFor());
    }
    // Ended by its close, though the command would go on.
    isolation.launch(as("0:0"), List.of("sleep", "1000")).close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"bare", "runc", "crun"})
  void whatIsWrittenStaysInTheInstance(String name) throws IOException {
    Isolation isolation = available(name);
    try (Instance one = isolation.start(as("0:0"));
        Instance other = isolation.start(as("0:0"))) {
      one.run(List.of("sh", "-c", "echo mine >/tmp/file")).orThrow(List.of("sh"));
      assertEquals("mine\n", one.run(List.of("cat", "/tmp/file")).text());
      assertEquals(1, other.run(List.of("cat", "/tmp/file")).exitCode());
      assertFalse(Files.exists(session.workload().root().resolve("tmp/file")));
    }
  }

  /** Else a bare process has more memory of its own than an idle container. */
  @Test
  void bareProcessesShareTheProbe() throws IOException {
    Isolation bare = available("bare");
    List<String> command = List.of("busybox", "ls", "-i", Probe.PATH);
    try (Instance one = bare.start(as("0:0"));
        Instance other = bare.start(as("0:0"))) {
      one.put(session.probe(), Probe.PATH);
      other.put(session.probe(), Probe.PATH);
      String file = one.run(command).orThrow(command).text();
      assertEquals(file, other.run(command).orThrow(command).text());
    }
  }

  /** Of a class outside this package, that the class path announces. */
  @Test
  void isolationOfAUsersOwnIsFoundAndRuns() throws IOException {
    List<String> command = List.of("cat", "/etc/group");
    try (Running running = available(MyIsolations.NAME).launch(as("0:0"), command)) {
      String text = Patience.finish(running, command, session.patience()).orThrow(command).text();
      assertTrue(text.contains("staff:x:1002:worker"), text);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bare", "runc", "crun"})
  void commandThatIsNotThereFailsWithAReason(String name) throws IOException {
    try (Instance instance = available(name).start(as("0:0"))) {
      List<String> command = List.of("no-such-program");
      IOException error =
          assertThrows(IOException.class, () -> instance.run(command).orThrow(command));
      assertTrue(error.getMessage().contains("no-such-program"), error.getMessage());
      assertTrue(
          error.getMessage().matches("(?is).*(not found|no such file).*"), error.getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void containersAreConfinedAsSandboxesAre(String name) throws IOException {
    try (Instance instance = available(name).start(as("0:0"))) {
      String status =
          instance.run(List.of("sh", "-c", "echo pid $$; cat /proc/self/status")).text();
      assertTrue(status.contains("Seccomp:\t2"), status);
      // The 14 capabilities that Docker gives.
      assertTrue(status.contains("CapEff:\t00000000a80425fb"), status);
      assertTrue(status.contains("CapBnd:\t00000000a80425fb"), status);
      Output mount = instance.run(List.of("busybox", "mount", "-t", "tmpfs", "tmpfs", "/tmp"));
      assertTrue(mount.exitCode() != 0 && mount.stderr().contains("ermission"), mount.stderr());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bare", "runc", "crun"})
  void probeRunsInItAndReachesTheService(String name) throws IOException {
    available(name);
    try {
      for (String figure : List.of("getpid", "files", "tcp-connect", "tcp-up", "tcp-down-8")) {
        Output output = Plan.of(figure).run(session.instance(name), session.workload(), true);
        List<Double> samples = Session.numbers(output);
        assertEquals(2, samples.size(), figure);
        assertTrue(samples.stream().allMatch(sample -> sample > 0), figure + samples);
      }
    } finally {
      session.closeInstance(name);
    }
  }

  /** As "sleep & " of a shell does, with and without the command's output. */
  @ParameterizedTest
  @ValueSource(strings = {"bare", "runc", "crun"})
  void whatACommandLeavesEndsWithTheInstance(String name) throws Exception {
    String left = "5" + System.nanoTime() % 1000000; // found by that
    try (Instance instance = available(name).start(as("0:0"))) {
      String script = "sleep " + left + " >/dev/null 2>&1 &";
      assertEquals(0, instance.run(List.of("sh", "-c", script)).exitCode());
      // The shell's child may be about to become it.
      for (int i = 0; i < 200 && sleeping(left) == 0; i++) {
        Thread.sleep(100);
      }
      assertEquals(1, sleeping(left));
    }
    assertEquals(0, sleeping(left));
  }

  private static long sleeping(String seconds) {
    return ProcessHandle.allProcesses()
        .filter(one -> one.info().arguments().map(List::of).orElse(List.of()).contains(seconds))
        .count();
  }

  @ParameterizedTest
  @ValueSource(strings = {"bare", "runc", "crun"})
  void commandThatDoesNotEndIsEndedAndNamed(String name) throws IOException {
    Isolation isolation = available(name);
    Duration patience = Duration.ofMillis(400);
    for (String script : List.of("sleep 1000", "sleep 1000 & exit 0")) {
      List<String> command = List.of("sh", "-c", script);
      try (Instance instance = isolation.start(as("0:0"));
          Running running = instance.start(command)) {
        IOException error =
            assertThrows(
                IOException.class, () -> Patience.finish(running, command, patience), script);
        assertTrue(error.getMessage().startsWith("sh -c " + script), error.getMessage());
        assertTrue(error.getMessage().endsWith("within 0.4 s"), error.getMessage());
      }
      try (Running running = isolation.launch(as("0:0"), command)) {
        // A container ends with its first process, and what that left with it.
        if (name.equals("bare") || script.equals("sleep 1000")) {
          assertThrows(
              IOException.class, () -> Patience.finish(running, command, patience), script);
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bare", "runc", "crun"})
  void commandThatNeverStopsWritingIsNotReadForEver(String name) throws IOException {
    try (Instance instance = available(name).start(as("0:0"))) {
      List<String> command = List.of("busybox", "yes");
      IOException error = assertThrows(IOException.class, () -> instance.run(command));
      assertTrue(error.getMessage().contains("more than 16 MiB"), error.getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bare", "runc", "crun"})
  void instanceOfAnUnknownUserIsNone(String name) throws IOException {
    Isolation isolation = available(name);
    IOException error = assertThrows(IOException.class, () -> isolation.start(as("nobody-here")));
    assertEquals("the image has no user nobody-here", error.getMessage());
  }

  @ParameterizedTest
  @ValueSource(strings = {"dir:/no/such/directory", "oci:/no/such/layout"})
  void imageThatIsNotThereLeavesNothing(String image) {
    Setting setting =
        new Setting(
            directory.resolve("cache"), directory.resolve("work"), Map.of(), Duration.ofMinutes(1));
    assertThrows(RuntimeException.class, () -> new Session(setting, image));
    assertEquals(ImageRef.parse(image).toString(), image);
  }
}
