// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.Nacelle;
import dev.nacelle.NacelleException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.TestImages;
import dev.nacelle.WritableLayer;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.Baseline;
import dev.nacelle.internal.OtherProcess;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a sandbox stands on goes away: the host's disk, or the process itself. There is an error
 * that says so, nothing is left, and a neighbour notices nothing.
 */
@Tag("boot")
@Timeout(900)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ChaosBootTest {
  private Baseline before;
  private Nacelle nacelle;
  private ImageRef image;
  private Sandbox neighbour;

  @SuppressWarnings("NullAway.Init") // before all tests
  ChaosBootTest() {}

  @BeforeAll
  void start(@TempDir Path directory) throws IOException {
    image = TestImages.busybox(directory.resolve("image"));
    nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
    neighbour = nacelle.start(spec().build());
    before = Baseline.now(TestKernels.CACHE);
  }

  @AfterEach
  void nothingIsLeftAndTheNeighbourIsUnharmed() throws Exception {
    before.assertFilesAsBefore();
    assertEquals("still\n", neighbour.exec("echo", "still").stdout().text());
  }

  @AfterAll
  void close() {
    nacelle.close();
  }

  private SandboxSpec.Builder spec() {
    return spec(image);
  }

  private static SandboxSpec.Builder spec(ImageRef image) {
    return SandboxSpec.builder()
        .image(image)
        .kernel("nacelle:6.12")
        .memory(DataSize.mebibytes(128))
        .user("0")
        .startTimeout(Duration.ofMinutes(8));
  }

  @Test
  void diskOfTheHostThatIsFullKeepsASandboxFromStarting(@TempDir Path directory) throws Exception {
    Path small = Files.createDirectory(directory.resolve("small"));
    Tool.run(directory, "mount", "-t", "tmpfs", "-o", "size=8k", "none", small.toString());
    try (Nacelle own =
        Nacelle.builder().cacheDirectory(TestKernels.CACHE).scratchDirectory(small).build()) {
      SandboxSpec onDisk =
          spec().writableLayer(WritableLayer.onDisk(DataSize.gibibytes(1))).build();
      NacelleException e = assertThrows(NacelleException.class, () -> own.start(onDisk));
      assertEquals(Stage.CREATE, e.stage());
      assertTrue(e.getMessage().contains("No space left"), e::getMessage);
      assertTrue(e.remedy().orElseThrow().contains("scratchDirectory"), e::getMessage);
      assertEquals(List.of(), images(small));
      // Without one it starts.
      try (Sandbox sandbox = own.start(spec().build())) {
        assertEquals("up\n", sandbox.exec("echo", "up").stdout().text());
      }
    } finally {
      Tool.run(directory, "umount", small.toString());
    }
  }

  private static List<String> images(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.endsWith(".img") || name.endsWith(".raw"))
          .toList();
    }
  }

  @Test
  void sandboxDoesNotOutliveAProcessThatIsKilled(@TempDir Path directory) throws Exception {
    Path scratch = directory.resolve("scratch");
    long child;
    try (OtherProcess process = OtherProcess.start(ChaosBootTest.class, image, scratch)) {
      child = Long.parseLong(process.read());
      assertEquals("up", process.read());
      process.kill();
    }
    assertFalse(ProcessHandle.of(child).isPresent());
    // Its machine was that process, its disk had no name; what it had locked can be locked.
    try (Stream<Path> files = Files.list(scratch)) {
      assertEquals(List.of(), files.filter(file -> file.toString().contains("scratch-")).toList());
    }
    try (Nacelle own =
            Nacelle.builder().cacheDirectory(TestKernels.CACHE).scratchDirectory(scratch).build();
        Sandbox next =
            own.start(spec().writableLayer(WritableLayer.onDisk(DataSize.mebibytes(16))).build())) {
      assertEquals("next\n", next.exec("echo", "next").stdout().text());
    }
  }

  /** The process that is killed. */
  public static void main(String... arguments) throws InterruptedException {
    System.out.println(ProcessHandle.current().pid());
    Nacelle nacelle =
        Nacelle.builder()
            .cacheDirectory(TestKernels.CACHE)
            .scratchDirectory(Path.of(arguments[1]))
            .build();
    Sandbox sandbox =
        nacelle.start(
            spec(ImageRef.parse(arguments[0]))
                .writableLayer(WritableLayer.onDisk(DataSize.mebibytes(16)))
                .build());
    sandbox.start(ProcessSpec.of("sleep", "86400"));
    System.out.println(sandbox.exec("echo", "up").stdout().text().strip());
    Thread.currentThread().join();
  }
}
