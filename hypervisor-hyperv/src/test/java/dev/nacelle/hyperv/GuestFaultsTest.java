// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ExecResult;
import dev.nacelle.HypervisorException;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.VmExit;
import dev.nacelle.engine.EngineBuilder;
import dev.nacelle.hyperv.machines.Machines;
import dev.nacelle.hyperv.sys.HResult;
import dev.nacelle.hyperv.sys.StandIn;
import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.store.TestKernels;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What fails under sandboxes that run: on the stand-in, whose machines QEMU runs. */
@Tag("boot")
@Timeout(300)
@DisabledOnOs(
    value = OS.WINDOWS,
    disabledReason = "ends processes of QEMU, which are this machine's")
class GuestFaultsTest {
  @TempDir Path directory;

  private ImageRef image;

  @BeforeEach
  void begin() throws IOException {
    StandIn.reset();
    Machines.boot();
    image = TestImages.busybox(directory.resolve("image"));
  }

  @AfterEach
  void nothingIsLeft() {
    StandIn.requireNothingLeft();
    assertEquals(List.of(), Machines.guests());
  }

  private static Nacelle nacelle() {
    return new EngineBuilder()
        .hypervisor(new StandInProvider())
        .cacheDirectory(TestKernels.CACHE)
        .build();
  }

  private static SandboxSpec spec(ImageRef image) {
    return SandboxSpec.builder().image(image).kernel("nacelle:6.12").build();
  }

  private static void assertEnds(
      Sandbox sandbox, SandboxExit.Reason reason, VmExit.Reason machine, Runnable fault)
      throws Exception {
    CompletableFuture<ExecResult> call = sandbox.execAsync("sleep", "86407");
    assertEquals("up\n", sandbox.exec("echo", "up").stdout().text());
    fault.run();
    SandboxExit exit = sandbox.onExit().get(4, TimeUnit.MINUTES);
    assertEquals(reason, exit.reason(), exit::toString);
    assertEquals(machine, exit.machine().orElseThrow().reason(), exit::toString);
    CompletionException e = assertThrows(CompletionException.class, call::join);
    assertInstanceOf(SandboxEndedException.class, e.getCause());
    assertThrows(SandboxEndedException.class, () -> sandbox.exec("true"));
  }

  @Test
  void machineThatFailsIsToldByEveryCallAndLeavesNothing() throws Exception {
    try (Nacelle nacelle = nacelle();
        Sandbox sandbox = nacelle.start(spec(image))) {
      List<ProcessHandle> guests = Machines.guests();
      assertEquals(1, guests.size());
      try (Sandbox other = nacelle.start(spec(image))) {
        assertEquals(2, Machines.guests().size());
        assertEnds(
            sandbox,
            SandboxExit.Reason.GUEST_CRASHED,
            VmExit.Reason.CRASHED,
            () -> assertTrue(guests.get(0).destroyForcibly()));
        assertEquals("still\n", other.exec("echo", "still").stdout().text());
      }
    }
  }

  @Test
  void serviceThatStopsIsToldByEveryCallAndTheNextServes() throws Exception {
    try (Nacelle nacelle = nacelle()) {
      try (Sandbox sandbox = nacelle.start(spec(image))) {
        assertEnds(
            sandbox, SandboxExit.Reason.HOST_FAILED, VmExit.Reason.HOST_ERROR, Machines::kill);
      }
      Machines.boot();
      try (Sandbox next = nacelle.start(spec(image))) {
        assertEquals("again\n", next.exec("echo", "again").stdout().text());
      }
    }
  }

  @Test
  void accessThatIsDeniedNamesTheFile() {
    try (Nacelle nacelle = nacelle()) {
      StandIn.failCall("HcsGrantVmAccess", HResult.E_ACCESSDENIED);
      HypervisorException e =
          assertThrows(HypervisorException.class, () -> nacelle.start(spec(image)));
      assertTrue(e.getMessage().contains("E_ACCESSDENIED"), e::getMessage);
      assertTrue(e.getMessage().contains(MachineDocument.VHD), e::getMessage);
    }
  }

  @Test
  void machinesOfAKilledProcessEndWithIt() throws Exception {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    ProcessBuilder builder =
        new ProcessBuilder(
            java,
            "-XX:TieredStopAtLevel=1",
            "-cp",
            System.getProperty("java.class.path"),
            GuestFaultsTest.class.getName(),
            image.toString());
    builder.environment().put("NACELLE_HCS_MACHINES", Machines.address());
    Process process = builder.redirectError(ProcessBuilder.Redirect.INHERIT).start();
    try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
      assertEquals("up", out.readLine());
      assertEquals(1, Machines.guests().size());
    } finally {
      process.destroyForcibly().onExit().join();
    }
    for (ProcessHandle guest : Machines.guests()) {
      guest.onExit().join();
    }
  }

  /** The process that is killed. */
  public static void main(String... arguments) throws InterruptedException {
    Sandbox sandbox = nacelle().start(spec(ImageRef.parse(arguments[0])));
    System.out.println(sandbox.exec("echo", "up").stdout().text().strip());
    Thread.currentThread().join();
  }
}
