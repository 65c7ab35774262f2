// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.WritableLayer;
import dev.nacelle.hyperv.sys.StandIn;
import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.store.TestKernels;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a user has on Windows, as he has it: the hypervisor that works there, this process's user,
 * the stand-in in the place of Windows' service. Machines are those of {@code .ci/windows-tests}.
 */
@Tag("boot")
@Timeout(300)
@EnabledOnOs(value = OS.WINDOWS, disabledReason = "of Windows alone")
@ExtendWith(BootsMachines.class)
class NacelleOnWindowsTest {
  private static SandboxSpec spec(ImageRef image) {
    return SandboxSpec.builder()
        .image(image)
        .kernel("nacelle:6.12")
        .memory(DataSize.mebibytes(256))
        .writableLayer(WritableLayer.onDisk(DataSize.mebibytes(256)))
        .build();
  }

  private static Nacelle nacelle() {
    return Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
  }

  @Test
  void pythonRunsUnderItsOwnKernel() {
    ImageRef image = ImageRef.parse(System.getenv("PYTHON_IMAGE"));
    try (Nacelle nacelle = nacelle();
        Sandbox sandbox = nacelle.start(spec(image))) {
      ExecResult result =
          sandbox.exec("python3", "-c", "import os; print(os.uname().sysname, 6 * 7)");
      assertEquals("Linux 42\n", result.stdout().text(), result::toString);
      assertTrue(sandbox.info().runsBootedKernel());
    }
  }

  @Test
  void machinesOfAKilledProcessEndWithIt(@TempDir Path directory) throws Exception {
    ImageRef image = TestImages.busybox(directory.resolve("image"));
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java.exe").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                NacelleOnWindowsTest.class.getName(),
                image.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
      assertEquals("up", out.readLine());
      assertEquals(1, machines());
    } finally {
      process.destroyForcibly().onExit().join();
    }
    while (machines() > 0) {
      Thread.sleep(10);
    }
    // What it has left keeps nobody.
    try (Nacelle nacelle = nacelle();
        Sandbox next = nacelle.start(spec(image))) {
      assertEquals("again\n", next.exec("echo", "again").stdout().text());
    }
  }

  /** How many run. */
  private static int machines() throws IOException {
    String address = System.getenv("NACELLE_HCS_MACHINES");
    int port = Integer.parseInt(address.substring(address.indexOf(':') + 1));
    try (Socket host = new Socket(InetAddress.getLoopbackAddress(), port)) {
      host.getOutputStream().write("machines\n".getBytes(US_ASCII));
      return Integer.parseInt(new String(host.getInputStream().readAllBytes(), US_ASCII).strip());
    }
  }

  /** The process that is killed. */
  public static void main(String... arguments) throws InterruptedException {
    StandIn.reset();
    Sandbox sandbox = nacelle().start(spec(ImageRef.parse(arguments[0])));
    System.out.println(sandbox.exec("echo", "up").stdout().text().strip());
    Thread.currentThread().join();
  }
}
