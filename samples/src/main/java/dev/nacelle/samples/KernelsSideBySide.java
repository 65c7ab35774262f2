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
import dev.nacelle.kernel.KernelRef;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;

/**
 * Runs one program under several kernels and prints a table. The machines boot one after the other,
 * so that none disturbs the times of another; then all are there at once, and the program runs in
 * all of them at the same time.
 */
public final class KernelsSideBySide {
  private static final List<Stage> STAGES =
      List.of(Stage.IMAGE, Stage.KERNEL, Stage.INITRAMFS, Stage.CREATE, Stage.BOOT, Stage.PREPARE);

  private static final String PROGRAM =
      """
      import hashlib, platform
      digest = hashlib.sha256(b'Nacelle' * 100_000).hexdigest()
      print(f'{digest[:8]} by Linux {platform.release()}')
      """;

  /** What one sandbox booted, how long that took, and what the program said in it. */
  record Row(KernelRef kernel, BootTimeline timeline, String result) {}

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
      List<Row> rows = new ArrayList<>();
      for (int i = 0; i < sandboxes.size(); i++) {
        Sandbox sandbox = sandboxes.get(i);
        ExecResult result = results.get(i).join();
        String text = (result.succeeded() ? result.stdout() : result.stderr()).toString().trim();
        rows.add(new Row(sandbox.info().kernel(), sandbox.timeline(), text));
      }
      System.out.println(table(rows));
    }
  }

  private static SandboxSpec spec(String image, String kernel) {
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel)
        .memory(DataSize.mebibytes(256))
        .startTimeout(Duration.ofMinutes(5))
        .build();
  }

  /** A table for people, in milliseconds. Each row is named by what was booted, not asked for. */
  static String table(List<Row> rows) {
    List<List<String>> lines = new ArrayList<>();
    lines.add(new ArrayList<>(List.of("ms")));
    STAGES.forEach(stage -> lines.get(0).add(stage.name().toLowerCase(Locale.ROOT)));
    lines.get(0).addAll(List.of("ready", "result"));
    for (Row row : rows) {
      List<String> cells = new ArrayList<>();
      cells.add(row.kernel().toString().replaceFirst("@sha256:[0-9a-f]{64}$", ""));
      STAGES.forEach(
          stage -> cells.add(millis(row.timeline().duration(stage).orElse(Duration.ZERO))));
      cells.add(millis(row.timeline().total()));
      cells.add(row.result());
      lines.add(cells);
    }
    int width = lines.stream().mapToInt(line -> line.get(0).length()).max().orElseThrow();
    return lines.stream().map(line -> format(line, width)).collect(Collectors.joining("\n"));
  }

  private static String format(List<String> cells, int width) {
    StringBuilder line = new StringBuilder(cells.get(0));
    line.append(" ".repeat(width - line.length()));
    for (String cell : cells.subList(1, cells.size() - 1)) {
      line.append(String.format(Locale.ROOT, "%10s", cell));
    }
    return line.append("  ").append(cells.get(cells.size() - 1)).toString();
  }

  private static String millis(Duration duration) {
    return String.format(Locale.ROOT, "%.1f", duration.toNanos() / 1e6);
  }
}
