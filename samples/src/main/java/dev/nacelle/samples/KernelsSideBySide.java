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
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Runs one program under several kernels and prints a table. The machines boot one after the other,
 * so that none disturbs the times of another; then all are there at once, and the program runs in
 * all of them at the same time. A kernel that cannot be had, or does not boot, keeps no other from
 * its row.
 */
public final class KernelsSideBySide {
  private static final List<String> KERNELS =
      List.of("debian:6.1", "debian:6.12", "nacelle:6.1", "nacelle:6.12");

  private static final List<Stage> STAGES =
      List.of(Stage.IMAGE, Stage.KERNEL, Stage.INITRAMFS, Stage.CREATE, Stage.BOOT, Stage.PREPARE);

  private static final ProcessSpec PROGRAM =
      ProcessSpec.of(
          "python3",
          "-c",
          """
          import hashlib
          print(hashlib.sha256(b'Nacelle' * 100_000).hexdigest()[:8])
          """);

  /** What one kernel made of the program; named by what was booted, or by what was asked for. */
  record Row(String kernel, String release, String outcome, Optional<BootTimeline> timeline) {}

  private KernelsSideBySide() {}

  /**
   * @param args an image with Python in it, then kernels; the four above where none is named
   */
  public static void main(String... args) {
    try (Nacelle nacelle = Nacelle.create()) {
      System.out.println(table(run(nacelle, specs(args))));
    }
  }

  /** One specification for each kernel, the same but for that. */
  static List<SandboxSpec> specs(String... args) {
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(args[0])
            .memory(DataSize.mebibytes(256))
            .startTimeout(Duration.ofMinutes(5))
            .build();
    List<String> kernels = args.length > 1 ? List.of(args).subList(1, args.length) : KERNELS;
    return kernels.stream().map(kernel -> spec.toBuilder().kernel(kernel).build()).toList();
  }

  static List<Row> run(Nacelle nacelle, List<SandboxSpec> specs) {
    List<CompletableFuture<Sandbox>> sandboxes = new ArrayList<>();
    for (SandboxSpec spec : specs) {
      System.err.println("starting " + spec.kernel());
      CompletableFuture<Sandbox> sandbox = nacelle.startAsync(spec);
      sandbox.handle((started, failure) -> true).join();
      sandboxes.add(sandbox);
    }
    // Nacelle closes them at its end.
    List<CompletableFuture<Row>> rows = new ArrayList<>();
    for (int i = 0; i < specs.size(); i++) {
      String kernel = specs.get(i).kernel().toString();
      rows.add(
          sandboxes
              .get(i)
              .thenCompose(started -> started.execAsync(PROGRAM).thenApply(r -> row(started, r)))
              .exceptionally(failure -> row(kernel, failure)));
    }
    return rows.stream().map(CompletableFuture::join).toList();
  }

  private static Row row(Sandbox sandbox, ExecResult result) {
    String said = (result.succeeded() ? result.stdout() : result.stderr()).text().strip();
    return new Row(
        sandbox.info().kernel().toString().replaceFirst("@sha256:[0-9a-f]{64}$", ""),
        sandbox.info().kernelRelease(),
        result.succeeded() ? said : result.status() + ": " + said,
        Optional.of(sandbox.timeline()));
  }

  private static Row row(String kernel, Throwable failure) {
    // Futures that are made from others wrap what those failed with.
    Throwable cause = Objects.requireNonNullElse(failure.getCause(), failure);
    String why = Objects.requireNonNullElse(cause.getMessage(), cause.toString());
    return new Row(kernel, "-", why, Optional.empty());
  }

  /** A table for people; times in milliseconds. */
  static String table(List<Row> rows) {
    List<List<String>> lines = new ArrayList<>();
    lines.add(
        line(
            "kernel", "release", STAGES.stream().map(KernelsSideBySide::name), "ready", "outcome"));
    for (Row row : rows) {
      Optional<BootTimeline> times = row.timeline();
      lines.add(
          line(
              row.kernel(),
              row.release(),
              STAGES.stream().map(stage -> millis(times.flatMap(t -> t.duration(stage)))),
              millis(times.map(BootTimeline::total)),
              row.outcome().replaceAll("\\s+", " ")));
    }
    int[] widths =
        IntStream.range(0, lines.get(0).size())
            .map(
                column ->
                    lines.stream().mapToInt(line -> line.get(column).length()).max().orElse(0))
            .toArray();
    return lines.stream().map(line -> format(line, widths)).collect(Collectors.joining("\n"));
  }

  private static List<String> line(
      String kernel, String release, Stream<String> stages, String ready, String outcome) {
    return Stream.of(Stream.of(kernel, release), stages, Stream.of(ready, outcome))
        .flatMap(cells -> cells)
        .toList();
  }

  /** Text to the left, and numbers, which stand between texts, to the right. */
  private static String format(List<String> line, int[] widths) {
    int last = widths.length - 1;
    return IntStream.rangeClosed(0, last)
        .mapToObj(
            column -> {
              boolean number = column > 1 && column < last;
              String padding = " ".repeat(widths[column] - line.get(column).length());
              return number ? padding + line.get(column) : line.get(column) + padding;
            })
        .collect(Collectors.joining("  "))
        .stripTrailing();
  }

  private static String name(Stage stage) {
    return stage.name().toLowerCase(Locale.ROOT);
  }

  private static String millis(Optional<Duration> duration) {
    return duration.map(d -> String.format(Locale.ROOT, "%.1f", d.toNanos() / 1e6)).orElse("-");
  }
}
