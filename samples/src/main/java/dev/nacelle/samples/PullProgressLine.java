// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import dev.nacelle.DataSize;
import dev.nacelle.FetchListener;
import dev.nacelle.FetchProgress;
import dev.nacelle.FetchProgress.State;
import dev.nacelle.LayerProgress;
import dev.nacelle.PackageProgress;
import java.io.PrintStream;
import java.util.Map;
import java.util.TreeMap;

/**
 * Says how far the pull of an image, or of a kernel's package, is: on a terminal in one line, which
 * changes; elsewhere in a line for the start, each quarter and the end.
 */
final class PullProgressLine implements FetchListener {
  private static final int WIDTH = 30;

  private final PrintStream out;
  private final boolean terminal;
  private int quartersShown = -1;
  private final Map<Integer, LayerProgress> layers = new TreeMap<>();

  PullProgressLine(PrintStream out, boolean terminal) {
    this.out = out;
    this.terminal = terminal;
  }

  @Override
  public synchronized void onProgress(FetchProgress progress) {
    if (progress instanceof LayerProgress layer) {
      tell(layer);
    } else if (progress instanceof PackageProgress kernel) {
      long done = kernel.done().bytes();
      long total = kernel.total().map(DataSize::bytes).orElse(0L);
      String text =
          String.format("%s %.1f of %.1f MiB", kernel.name(), done / 1048576.0, total / 1048576.0);
      show(text, done, total, kernel.state() == State.DONE);
    }
  }

  private void tell(LayerProgress progress) {
    layers.put(progress.number(), progress);
    if (layers.size() < progress.layers()) {
      return; // The others are told before anything arrives.
    }
    long done = layers.values().stream().mapToLong(layer -> layer.done().bytes()).sum();
    long total =
        layers.values().stream()
            .flatMap(layer -> layer.total().stream())
            .mapToLong(DataSize::bytes)
            .sum();
    long complete =
        layers.values().stream()
            .filter(layer -> layer.state() == State.DONE || layer.state() == State.ALREADY_THERE)
            .count();
    int bar = total == 0 ? WIDTH : (int) (WIDTH * done / total);
    String text =
        String.format(
            "%s [%s%s] %d of %d layers, %.1f of %.1f MiB %-11s",
            progress.image().repository().orElse(""),
            "=".repeat(bar),
            " ".repeat(WIDTH - bar),
            complete,
            progress.layers(),
            done / 1048576.0,
            total / 1048576.0,
            progress.state() == State.RETRYING ? "(retrying)" : "");
    boolean end = complete == progress.layers();
    show(text, done, total, end);
    if (end) {
      layers.clear();
    }
  }

  private void show(String text, long done, long total, boolean end) {
    int quarters = total == 0 ? 0 : (int) (4 * done / total);
    if (terminal) {
      out.print("\r" + text + (end ? System.lineSeparator() : ""));
    } else if (end || quarters > quartersShown && quarters < 4) {
      out.println(text.stripTrailing());
    }
    quartersShown = end ? -1 : quarters;
  }
}
