// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.Nacelle;
import dev.nacelle.NacelleException;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.image.testing.Tool;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** A Java runtime that jlink made of the modules that README.md names. */
@Timeout(300)
@DisabledOnOs(
    value = OS.WINDOWS,
    disabledReason =
        "the JVM for Windows that the tests have is itself made by jlink, and has none")
class SmallRuntimeTest {
  @TempDir static Path directory;
  private static String java;

  @BeforeAll
  static void link() {
    Path runtime = directory.resolve("runtime");
    Tool.run(
        directory,
        Path.of(System.getProperty("java.home"), "bin", "jlink").toString(),
        "--add-modules=java.logging,java.management,java.naming,java.net.http,jdk.unsupported",
        "--output=" + runtime);
    java = runtime.resolve("bin/java").toString();
    String modules = Tool.run(directory, java, "--list-modules");
    assertFalse(modules.contains("jdk.jfr"), modules);
  }

  /** Times a stage, then starts a sandbox of an image that there is none of. */
  static final class Starter {
    private Starter() {}

    public static void main(String[] arguments) throws Exception {
      StageClock clock = new StageClock(new SandboxEvents("id", "box", List.of()));
      System.out.println(clock.time(Stage.IMAGE, () -> "timed"));
      try (Nacelle nacelle = Nacelle.builder().cacheDirectory(Path.of(arguments[0])).build()) {
        SandboxSpec spec = SandboxSpec.builder().image("oci:" + arguments[1]).build();
        nacelle.start(spec).close();
      } catch (NacelleException e) {
        System.out.println(e.stage() + ": " + e.getMessage());
      }
    }
  }

  @Test
  void timesStagesWithoutAFlightRecorderAndSaysWhatIsMissing() {
    List<String> command =
        List.of(
            java,
            "-cp",
            System.getProperty("java.class.path"),
            Starter.class.getName(),
            directory.resolve("cache").toString(),
            directory.resolve("image").toString());
    String output = Tool.run(directory, command);
    assertTrue(output.contains("timed\n"), output);
    // No hypervisor is on core's class path, or the image is missing.
    assertTrue(output.contains("HOST: ") || output.contains("IMAGE: "), output);
  }
}
