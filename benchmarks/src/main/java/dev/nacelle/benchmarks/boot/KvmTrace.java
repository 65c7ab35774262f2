// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.boot;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Counts what KVM does for any monitor, with histograms of its trace points (Linux'
 * Documentation/trace/histogram.rst); the tracefs must be mounted. Counting makes each exit dearer,
 * so boots that are counted are not timed.
 */
final class KvmTrace {
  private static final Path ROOT = Path.of("/sys/kernel/tracing");

  /** Exits to the monitor, exits to the kernel, port accesses, and emulated memory accesses. */
  private static final Map<String, String> HISTOGRAMS =
      new TreeMap<>(
          Map.of(
              "kvm_userspace_exit", "reason",
              "kvm_exit", "exit_reason",
              "kvm_pio", "port,rw",
              "kvm_mmio", "gpa.hex,type"));

  private static final Pattern BUCKET = Pattern.compile("\\{ (.*) \\} hitcount: +(\\d+).*");

  private KvmTrace() {}

  /** Whether this host has them, and this process may use them. */
  static boolean available() {
    return Files.isWritable(ROOT.resolve("events/kvm/kvm_userspace_exit/trigger"));
  }

  /**
   * Counts while something runs.
   *
   * @return the counters by trace point and key
   */
  static Map<String, Long> count(Supplier<?> what) {
    try {
      for (Map.Entry<String, String> histogram : HISTOGRAMS.entrySet()) {
        write(trigger(histogram.getKey()), "hist:keys=" + histogram.getValue());
      }
      try {
        what.get();
        Map<String, Long> counters = new TreeMap<>();
        for (String event : HISTOGRAMS.keySet()) {
          read(event, counters);
        }
        return counters;
      } finally {
        for (Map.Entry<String, String> histogram : HISTOGRAMS.entrySet()) {
          write(trigger(histogram.getKey()), "!hist:keys=" + histogram.getValue());
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void read(String event, Map<String, Long> counters) throws IOException {
    List<String> lines = Files.readAllLines(ROOT.resolve("events/kvm/" + event + "/hist"));
    for (String line : lines) {
      Matcher bucket = BUCKET.matcher(line);
      if (bucket.matches()) {
        String key = event + " " + bucket.group(1).replaceAll(" +", " ").trim();
        counters.put(key, Long.parseLong(bucket.group(2)));
      }
    }
  }

  private static Path trigger(String event) {
    return ROOT.resolve("events/kvm/" + event + "/trigger");
  }

  /** In one write, as tracefs wants it. */
  private static void write(Path file, String text) throws IOException {
    Files.write(file, text.getBytes(java.nio.charset.StandardCharsets.US_ASCII));
  }
}
