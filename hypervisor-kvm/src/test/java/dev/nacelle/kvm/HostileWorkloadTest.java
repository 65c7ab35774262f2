// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.GuestProcess;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TerminalSize;
import dev.nacelle.TestImages;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.kernel.store.TestKernels;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A workload that is root in its sandbox tries what it can against the agent, cgroups, /proc, /sys,
 * devices, the kernel and the host's ports ({@code src/test/rust/hostile.rs}). Each attempt must
 * get what is said here, and afterwards the sandbox must still do as it is told.
 */
@Tag("boot")
@Timeout(900)
@TestInstance(Lifecycle.PER_CLASS)
class HostileWorkloadTest {
  /** What each attempt gets: a regular expression. */
  private static final String OUTCOMES =
      """
      climbing out of the root: OWN ROOT
      opening the disks: EACCES
      opening the kernel's memory: EACCES
      opening the kernel's log: EACCES
      opening the console: EACCES
      opening by handle: EPERM
      mounting proc: EPERM
      mounting devtmpfs: EPERM
      mounting the root again: EPERM
      making /proc/sys writable: EPERM
      unmounting a mask: EPERM
      opening a tree of mounts: EPERM
      opening a filesystem: EPERM
      pivoting the root: EPERM
      mounting devtmpfs in namespaces: EPERM
      mounting a disk in namespaces: EPERM
      making /proc/sys writable in namespaces: EPERM
      unmounting a mask in namespaces: EINVAL
      mounting an unmasked proc in namespaces: EPERM
      mounting an unmasked sysfs in namespaces: EPERM
      reaching a device file in namespaces: EPERM
      lifting its limit of memory: EPERM
      lifting its limit of processes: EPERM|ENOENT
      making cgroups below its own: EAGAIN
      leaving its cgroup by number: ENOENT
      writing to the cgroups: EROFS
      raising its hard limit of files: EPERM
      raising its priority: EACCES
      becoming a real-time process: EPERM
      hiding from the OOM killer: EACCES
      rebooting: EPERM
      asking for a reboot by SysRq: EROFS|ENOENT
      setting the core pattern: EROFS
      setting the modules' loader: EROFS|ENOENT
      setting the hotplug helper: EROFS|ENOENT
      setting panic on OOM: EROFS
      unbinding a driver: EROFS
      loading a module: EPERM|ENOSYS
      loading a module's file: EPERM|ENOSYS
      loading another kernel: EPERM|ENOSYS
      loading a BPF program: EPERM
      counting the kernel's events: EACCES|EPERM|ENOSYS
      reading the kernel's memory by its file: EMPTY|ENOENT
      clearing the kernel's log: EPERM
      all ports: EPERM|ENOSYS
      a port: EPERM|ENOSYS
      setting the clock: EPERM
      setting the host name: EPERM
      swapping: EPERM|ENOSYS
      accounting: EPERM|ENOSYS
      quotas: EPERM|ENOSYS|ENOENT
      setting up the audit: EPERM|EPROTONOSUPPORT
      the first process: mem EACCES, environ EACCES, exe EACCES, root EACCES, cwd EACCES, fd 1 NAMES, maps EACCES, ns/mnt EACCES, ptrace EPERM, getfd EPERM, readv EPERM, setns EPERM
      killing the first process: NO EFFECT
      the agent's keys: 1 KEYS
      typing on the terminal: ENXIO
      dialling the host: ECONNRESET
      dialling the agent: ECONNRESET( ENODEV)?
      """;

  private Nacelle nacelle;
  private SandboxSpec spec;
  private Sandbox sandbox;

  @BeforeAll
  void start(@TempDir Path directory) throws IOException {
    nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
    spec =
        SandboxSpec.builder()
            .image(TestImages.busybox(directory.resolve("image")))
            .kernel("nacelle:6.12")
            .memory(DataSize.mebibytes(192))
            .user("0")
            // What there is below the filter has to hold alone: filters are the first wall.
            .security(ProcessSecurity.builder().seccomp(SeccompProfile.UNCONFINED).build())
            .startTimeout(Duration.ofMinutes(10))
            .build();
    sandbox = sandboxWithTheProgram(spec);
  }

  @AfterAll
  void close() {
    nacelle.close();
  }

  private Sandbox sandboxWithTheProgram(SandboxSpec spec) throws IOException {
    Sandbox started = nacelle.start(spec);
    try (InputStream program = HostileWorkloadTest.class.getResourceAsStream("/hostile")) {
      byte[] bytes = Objects.requireNonNull(program, "src/test/rust is not built").readAllBytes();
      ExecResult copied =
          started.exec(
              ProcessSpec.builder(
                      "sh", "-c", "cat > /bin/hostile && busybox chmod 755 /bin/hostile")
                  .stdin(bytes)
                  .build());
      assertEquals(0, copied.exitCode(), copied::toString);
    }
    return started;
  }

  @Test
  void everyAttemptGetsWhatItMust() throws IOException {
    assertOutcomes(sandbox, OUTCOMES);
  }

  @Test
  void dockersFilterRefusesNamespacesAndKeysAsWell() throws IOException {
    String expected = OUTCOMES;
    for (String refused :
        List.of(
            "unmounting a mask in namespaces: EINVAL",
            "making cgroups below its own: EAGAIN",
            "leaving its cgroup by number: ENOENT",
            "the agent's keys: 1 KEYS")) {
      expected = expected.replace(refused, refused.replaceAll(":.*", ": EPERM"));
    }
    try (Sandbox own =
        sandboxWithTheProgram(spec.toBuilder().security(ProcessSecurity.DEFAULT).build())) {
      assertOutcomes(own, expected);
    }
  }

  private static void assertOutcomes(Sandbox sandbox, String all) throws IOException {
    Map<String, String> outcomes = new LinkedHashMap<>();
    try (GuestProcess hostile = sandbox.start(ProcessSpec.of("hostile"));
        BufferedReader lines =
            new BufferedReader(new InputStreamReader(hostile.stdout(), StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        put(outcomes, line);
      }
    }
    Map<String, String> expected = new LinkedHashMap<>();
    all.lines().forEach(line -> put(expected, line));
    StringBuilder wrong = new StringBuilder();
    outcomes.forEach(
        (attempt, outcome) -> {
          if (!outcome.matches(expected.getOrDefault(attempt, "(nothing is said of it)"))) {
            wrong.append(attempt).append(": ").append(outcome).append('\n');
          }
        });
    assertEquals("", wrong.toString());
    assertEquals(expected.keySet(), outcomes.keySet());
    assertObeys(sandbox);
  }

  private static void put(Map<String, String> outcomes, String line) {
    int colon = line.indexOf(": ");
    assertTrue(colon > 0, line);
    assertEquals(null, outcomes.put(line.substring(0, colon), line.substring(colon + 2)), line);
  }

  /** What a process inherits, and what it is a copy of, is no way to what is the agent's. */
  @Test
  void noWorkingDirectoryLeadsOut() {
    for (int descriptor = 0; descriptor < 64; descriptor++) {
      assertNoDirectory("/proc/self/fd/" + descriptor);
      assertNoDirectory("/proc/self/fd/" + descriptor + "/..");
      assertNoDirectory("/proc/thread-self/fd/" + descriptor);
    }
    assertNoDirectory("/proc/1/root");
    assertNoDirectory("/proc/1/cwd");
    assertNoDirectory("/proc/self/root/proc/1/root");
    // A link to such a place, as an image could have it.
    sandbox.exec("busybox", "ln", "-s", "/proc/self/fd/7", "/tmp/link");
    assertNoDirectory("/tmp/link");
    // Its own root and working directory are its own.
    ProcessSpec own = ProcessSpec.builder("pwd").workingDirectory("/proc/self/root/tmp").build();
    assertEquals("/tmp\n", sandbox.exec(own).stdout().text());
    assertObeys(sandbox);
  }

  private void assertNoDirectory(String directory) {
    ProcessSpec spec = ProcessSpec.builder("pwd").workingDirectory(directory).build();
    ProcessException e = assertThrows(ProcessException.class, () -> sandbox.exec(spec), directory);
    assertEquals(ProcessException.Reason.BAD_WORKING_DIRECTORY, e.reason(), directory);
  }

  @Test
  void noProcessIsOpenOnTheWayToItsCommand() throws IOException {
    try (GuestProcess watcher = sandbox.start(ProcessSpec.of("hostile", "watch"))) {
      for (int i = 0; i < 30; i++) {
        assertObeys(sandbox);
      }
      watcher.stdin().close();
      assertEquals(
          "watched\n", new String(watcher.stdout().readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"processes", "files", "terminals", "connections", "locked-memory"})
  void whatItExhaustsIsItsOwn(String what) throws IOException {
    try (Sandbox own = sandboxWithTheProgram(spec)) {
      String outcome = attack(own, what).stdout().text();
      String expected =
          switch (what) {
            case "processes", "locked-memory" -> "EAGAIN\n";
            case "files" -> "EMFILE\n";
            case "terminals" -> "EMFILE\n";
            default -> "ECONNRESET\n";
          };
      assertEquals(expected, outcome);
      assertObeys(own);
      // Whoever is left behind has no part of what others get.
      ProcessSpec terminal =
          ProcessSpec.builder("echo", "obeys").terminal(new TerminalSize(24, 80)).build();
      assertEquals("obeys\r\n", own.exec(terminal).stdout().text());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"memory", "shared-memory"})
  void memoryThatItTakesIsItsOwn(String what) throws IOException {
    try (Sandbox own = sandboxWithTheProgram(spec)) {
      ExecResult result = attack(own, what);
      if (what.equals("memory")) {
        assertTrue(result.status().oomKilled(), result::toString);
      } else {
        // It stays, whoever is killed: so there is a limit for it.
        assertEquals("ENOSPC\n", result.stdout().text(), result::toString);
      }
      assertObeys(own);
    }
  }

  /** It may stop and kill all that the workload runs, and nothing else. */
  @ParameterizedTest
  @ValueSource(strings = {"stop", "kill"})
  void signalsToAllReachTheWorkloadOnly(String what) throws IOException {
    try (Sandbox own = sandboxWithTheProgram(spec);
        GuestProcess other = own.start(ProcessSpec.of("sleep", "86400"))) {
      assertEquals("ALLOWED\n", own.exec("hostile", what).stdout().text());
      assertObeys(own);
      if (what.equals("kill")) {
        assertEquals(137, other.waitFor().exitCode());
      }
    }
  }

  /** Has a sandbox exhaust something, of which its neighbour is to notice nothing. */
  private ExecResult attack(Sandbox own, String what) {
    CompletableFuture<ExecResult> attack = own.execAsync("hostile", what);
    do {
      assertObeys(sandbox);
    } while (!attack.isDone());
    return attack.join();
  }

  private static void assertObeys(Sandbox sandbox) {
    ExecResult result = sandbox.exec("echo", "obeys");
    assertEquals("obeys\n", result.stdout().text(), result::toString);
  }
}
