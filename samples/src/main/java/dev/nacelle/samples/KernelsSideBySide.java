// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import dev.nacelle.BootTimeline;
import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;

/**
 * Runs one program under several kernels and prints a table. The machines boot one after the other,
 * so that none disturbs the times of another; then all are there at once, and the program runs in
 * all of them at the same time.
 */
public final class KernelsSideBySide {
  private static final List<Stage> STAGES =
      List.of(Stage.KERNEL, Stage.INITRAMFS, Stage.CREATE, Stage.BOOT, Stage.PREPARE);

  private static final String PROGRAM =
      """
      import hashlib, platform
      digest = hashlib.sha256(b'Nacelle' * 100_000).hexdigest()
      print(f'{digest[:8]} by Linux {platform.release()}')
      """;

  private KernelsSideBySide() {}

  /**
   * @param args an image with Python in it, then kernels; after {@code --prepare}, they are only
   *     made ready
   */
  public static void main(String[] args) {
    boolean prepareOnly = args[0].equals("--prepare");
    List<String> arguments = List.of(args).subList(prepareOnly ? 1 : 0, args.length);
    String image = arguments.get(0);
    List<SandboxSpec> specs =
        arguments.stream().skip(1).map(kernel -> spec(image, kernel)).toList();
    if (prepareOnly) {
      specs.forEach(Nacelle.builder()::prepare);
      return;
    }
    try (Nacelle nacelle = Nacelle.create()) {
      // Nacelle closes what is still open at its end.
      List<Sandbox> sandboxes = specs.stream().map(nacelle::start).toList();
      ProcessSpec program = ProcessSpec.of("python3", "-c", PROGRAM);
      List<CompletableFuture<ExecResult>> results =
          sandboxes.stream().map(sandbox -> sandbox.execAsync(program)).toList();
      printTable(sandboxes, results);
    }
  }

  private static SandboxSpec spec(String image, String kernel) {
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel)
        .memory(DataSize.mebibytes(256))
        .timeout(Duration.ofMinutes(5))
        .build();
  }

  private static void printTable(
      List<Sandbox> sandboxes, List<CompletableFuture<ExecResult>> results) {
    List<String> titles = new ArrayList<>();
    titles.add("ms");
    STAGES.forEach(stage -> titles.add(stage.name().toLowerCase(Locale.ROOT)));
    titles.add("ready");
    titles.add("result");
    row(titles);
    for (int i = 0; i < sandboxes.size(); i++) {
      Sandbox sandbox = sandboxes.get(i);
      BootTimeline timeline = sandbox.timeline();
      List<String> cells = new ArrayList<>();
      cells.add(sandbox.spec().kernel().toString());
      for (Stage stage : STAGES) {
        cells.add(millis(timeline.duration(stage).orElse(Duration.ZERO)));
      }
      cells.add(millis(timeline.total()));
      ExecResult result = results.get(i).join();
      cells.add((result.succeeded() ? result.stdout() : result.stderr()).toString().trim());
      row(cells);
    }
  }

  private static void row(List<String> cells) {
    StringBuilder row = new StringBuilder(String.format(Locale.ROOT, "%-16s", cells.get(0)));
    for (String cell : cells.subList(1, cells.size() - 1)) {
      row.append(String.format(Locale.ROOT, "%10s", cell));
    }
    System.out.println(row.append("  ").append(cells.get(cells.size() - 1)));
  }

  private static String millis(Duration duration) {
    return String.format(Locale.ROOT, "%.1f", duration.toNanos() / 1e6);
  }
}
