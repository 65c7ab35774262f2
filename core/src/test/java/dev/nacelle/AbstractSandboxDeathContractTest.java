// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.SandboxExit.Reason;
import dev.nacelle.files.WriteOptions;
import dev.nacelle.image.ImageRef;
import dev.nacelle.internal.Baseline;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.spi.ContractGuest;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Guests that are booted for real die, each in another way, while every call waits for them: all
 * are told the same, nothing is left, and a neighbour notices nothing. Each hypervisor's tests
 * extend it. What needs no guest is in {@code dev.nacelle.engine.SandboxDeathTest}.
 */
@TestInstance(Lifecycle.PER_CLASS)
@Timeout(900)
public abstract class AbstractSandboxDeathContractTest {
  private static final int PORT = 5000;

  /**
   * Begins a script that runs outside of all containers, as the guest's kernel runs a handler of
   * core dumps (core(5)): $B is BusyBox, and /p has the machine's processes, of which the agent is
   * the first.
   */
  private static final String OUTSIDE =
      "B=/proc/$1/root/bin/busybox; $B mkdir /p; $B mount -t proc none /p; ";

  /** Puts zeros in place of what the agent executes; the end of the first process is a panic. */
  private static final String CRASH =
      "$B grep ' r-xp ' /p/1/maps | while read range rest; do"
          + " from=$((0x${range%-*})); to=$((0x${range#*-}));"
          + " $B dd if=/proc/$1/root/dev/zero of=/p/1/mem bs=4096 seek=$((from / 4096))"
          + " count=$(((to - from) / 4096)) conv=notrunc; done";

  /** A way to die. */
  protected enum Death {
    POWER_OFF(true, "$B poweroff -f", "reboot: Power down", Reason.GUEST_ENDED),
    REBOOT(true, "$B reboot -f", "reboot: Restarting system", Reason.GUEST_CRASHED),

    /** Which is a panic. */
    AGENT_CRASHES(true, CRASH, "Attempted to kill init", Reason.GUEST_CRASHED),

    /** The host loses the guest, and it the host. */
    SOCKET_DEVICE_LOST(
        false,
        "cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport && echo virtio* > unbind",
        "",
        // As soon as the agent has powered the machine off, it is that.
        Reason.GUEST_ENDED,
        Reason.CONNECTION_LOST),

    /**
     * A kernel that waits for an hour after a panic, with its interrupts off and its other
     * processors stopped (kernel/panic.c).
     */
    STUCK_WITHOUT_INTERRUPTS(
        true,
        "echo 3600 > /p/sys/kernel/panic; " + CRASH,
        "Rebooting in 3600 seconds",
        Reason.CONNECTION_LOST),

    /** What runs the machine on the host is killed. */
    MACHINE_KILLED(false, "", "", Reason.GUEST_CRASHED);

    private final String script;
    private final boolean outside;
    private final String console;
    private final Set<Reason> reasons;

    /**
     * @param outside whether the script runs outside of the container
     * @param console what the console says in the end, if that is certain
     */
    Death(boolean outside, String script, String console, Reason... reasons) {
      this.script = script;
      this.outside = outside;
      this.console = console;
      this.reasons = Set.of(reasons);
    }
  }

  private Baseline beforeAll;
  private Baseline before;
  private Nacelle nacelle;
  private SandboxSpec spec;
  private Sandbox neighbour;

  /** With the hypervisor that is tested; by default the one that works here. */
  protected Nacelle.Builder builder() {
    return Nacelle.builder();
  }

  /** The ways to die that are tried. */
  protected abstract List<Death> deaths();

  /** For {@link Death#MACHINE_KILLED}: kills the machine that was started last. */
  protected void killMachine() {
    throw new UnsupportedOperationException();
  }

  @BeforeAll
  void start(@TempDir Path directory) throws IOException {
    beforeAll = Baseline.now(TestKernels.CACHE);
    ImageRef image = TestImages.busybox(directory.resolve("image"));
    nacelle = builder().cacheDirectory(TestKernels.CACHE).build();
    spec =
        SandboxSpec.builder()
            .image(image)
            .kernel("nacelle:6.12")
            .memory(DataSize.mebibytes(160))
            .user("0")
            .privileged()
            .startTimeout(Duration.ofMinutes(10))
            .build();
    neighbour = nacelle.start(spec);
    before = Baseline.now(TestKernels.CACHE);
  }

  @AfterAll
  void closingLeavesNoThread() throws Exception {
    nacelle.close();
    beforeAll.assertThreadsEnded();
  }

  @ParameterizedTest
  @MethodSource("deaths")
  void everyCallThatWaitsIsToldTheSame(Death death, @TempDir Path directory) throws Exception {
    try (Sandbox sandbox = nacelle.start(spec)) {
      // More than is read of it until the end.
      sandbox.exec("dd", "if=/dev/zero", "of=/srv/large", "bs=1M", "count=24").orThrow();
      WriteOptions executable = WriteOptions.builder().permissions(0755).build();
      sandbox.files().write("/tmp/listener", ContractGuest.program(), executable);
      GuestProcess listener = sandbox.start("/tmp/listener", "listen", "" + PORT, "hold");
      assertEquals(
          "listening\n", new String(listener.stdout().readNBytes(10), StandardCharsets.UTF_8));
      if (death.outside) {
        String handler = OUTSIDE + death.script;
        sandbox.files().write("/tmp/handler", handler.getBytes(StandardCharsets.UTF_8));
        String pattern = "|/proc/%P/root/bin/busybox sh /proc/%P/root/tmp/handler %P";
        sandbox
            .exec("sh", "-c", "echo '" + pattern + "' > /proc/sys/kernel/core_pattern")
            .orThrow();
      }
      WaitingCalls.Guest guest =
          new WaitingCalls.Guest(
              List.of("sleep", "86400"), "/srv/large", PORT, PORT + 1, Duration.ofSeconds(1));
      // There before the calls keep the guest busy.
      String script = death.outside ? "kill -SEGV $$" : death.script;
      GuestProcess fatal = sandbox.start(ProcessSpec.shell("read line; " + script));
      try (WaitingCalls calls = WaitingCalls.begin(sandbox, guest, directory, () -> {})) {
        if (death == Death.MACHINE_KILLED) {
          killMachine();
        } else {
          fatal.stdin().write('\n');
          fatal.stdin().flush();
        }
        SandboxExit exit = sandbox.onExit().get(3, TimeUnit.MINUTES);
        assertTrue(death.reasons.contains(exit.reason()), () -> exit + "\n" + sandbox.console());
        assertTrue(sandbox.console().contains(death.console), sandbox::console);
        calls.assertEnded(exit, "console");
      }
    }
    before.assertFilesAsBefore();
    assertEquals("still\n", neighbour.exec("echo", "still").stdout().text());
  }
}
