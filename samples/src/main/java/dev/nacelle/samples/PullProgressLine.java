// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import dev.nacelle.FetchListener;
import dev.nacelle.FetchProgress;
import dev.nacelle.FetchProgress.State;
import dev.nacelle.LayerProgress;
import dev.nacelle.PackageProgress;
import java.io.PrintStream;
import java.util.Map;
import java.util.TreeMap;

/** One line on a terminal that says how far the pull of one image, or a kernel's package, is. */
final class PullProgressLine implements FetchListener {
  private static final int WIDTH = 30;

  private final PrintStream out;
  private final Map<Integer, LayerProgress> layers = new TreeMap<>();

  PullProgressLine(PrintStream out) {
    this.out = out;
  }

  @Override
  public synchronized void onProgress(FetchProgress progress) {
    if (progress instanceof LayerProgress layer) {
      tell(layer);
    } else if (progress instanceof PackageProgress kernel) {
      out.printf(
          "\r%s %.1f of %.1f MiB",
          kernel.name(), kernel.done() / 1048576.0, kernel.total() / 1048576.0);
      if (kernel.state() == State.DONE) {
        out.println();
      }
    }
  }

  private void tell(LayerProgress progress) {
    layers.put(progress.number(), progress);
    if (layers.size() < progress.layers()) {
      return; // The others are told before anything arrives.
    }
    long done = layers.values().stream().mapToLong(LayerProgress::done).sum();
    long total = layers.values().stream().mapToLong(LayerProgress::total).sum();
    long complete =
        layers.values().stream()
            .filter(layer -> layer.state() == State.DONE || layer.state() == State.ALREADY_THERE)
            .count();
    int bar = total == 0 ? WIDTH : (int) (WIDTH * done / total);
    out.printf(
        "\r%s [%s%s] %d of %d layers, %.1f of %.1f MiB %-11s",
        progress.image().repository().orElse(""),
        "=".repeat(bar),
        " ".repeat(WIDTH - bar),
        complete,
        progress.layers(),
        done / 1048576.0,
        total / 1048576.0,
        progress.state() == State.RETRYING ? "(retrying)" : "");
    if (complete == progress.layers()) {
      out.println();
      layers.clear();
    }
  }
}
