// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.network;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Programs that this one starts; those that are left are ended with it. Not thread-safe. */
final class Programs implements AutoCloseable {
  private static final long PATIENCE_SECONDS = 60;

  private final Deque<Process> started = new ArrayDeque<>();

  /** One that goes on; what it says of errors is seen. */
  Process start(String... command) throws IOException {
    return start(List.of(command));
  }

  Process start(List<String> command) throws IOException {
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    started.push(process);
    return process;
  }

  /** A network namespace, which is there as long as the process is. */
  Process namespace() throws IOException {
    // Its exec tells nothing, so that the first line does.
    Process process =
        start("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 86400");
    requireLine(process, "up");
    return process;
  }

  /** The command in the network namespace of a process. */
  static List<String> in(long pid, String... command) {
    List<String> whole = new ArrayList<>(List.of("nsenter", "--net=/proc/" + pid + "/ns/net"));
    whole.addAll(List.of(command));
    return whole;
  }

  /** Runs a script of the shell's, which must succeed. */
  static void script(String script) throws IOException, InterruptedException {
    run(List.of("sh", "-euc", script));
  }

  /**
   * Runs a program to its end.
   *
   * @return what it printed
   * @throws IllegalStateException when it failed, with what it printed, or does not end
   */
  static String run(List<String> command) throws IOException, InterruptedException {
    return run(command, true);
  }

  /** As {@link #run(List)}, but it may fail, and what it printed says why. */
  static String output(List<String> command) throws IOException, InterruptedException {
    return run(command, false);
  }

  private static String run(List<String> command, boolean mustSucceed)
      throws IOException, InterruptedException {
    Path output = Files.createTempFile("output", null);
    try {
      Process process =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(output.toFile())
              .start();
      process.getOutputStream().close();
      boolean over = process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS);
      String text = Files.readString(output);
      if (!over || (mustSucceed && process.exitValue() != 0)) {
        process.destroyForcibly();
        throw new IllegalStateException(
            String.join(" ", command) + (over ? " failed: " : " does not end: ") + text);
      }
      return text;
    } finally {
      Files.delete(output);
    }
  }

  static void requireLine(Process process, String expected) throws IOException {
    String line = line(process);
    if (!expected.equals(line)) {
      throw new IllegalStateException(process.info() + " said " + line);
    }
  }

  /** The next line that it prints. Only one reader at a time may be at it. */
  static String line(Process process) throws IOException {
    StringBuilder line = new StringBuilder();
    int next = process.getInputStream().read();
    for (; next >= 0 && next != '\n'; next = process.getInputStream().read()) {
      line.append((char) next);
    }
    if (next < 0) {
      throw new IllegalStateException(process.info() + " has ended, and said " + line);
    }
    return line.toString();
  }

  /** Processor time of a process and its threads so far, in ticks of 10 ms. */
  static long ticks(Process process) throws IOException {
    String stat = Files.readString(Path.of("/proc/" + process.pid() + "/stat"));
    String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
    return Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
  }

  /** Memory that the process alone has, in bytes. */
  static long memory(Process process) throws IOException {
    Path file = Path.of("/proc/" + process.pid() + "/smaps_rollup");
    try (BufferedReader lines = Files.newBufferedReader(file, StandardCharsets.US_ASCII)) {
      return lines
          .lines()
          .filter(line -> line.startsWith("Private_"))
          .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
          .sum();
    }
  }

  @Override
  public void close() {
    for (Process process : started) {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly().onExit().join();
    }
  }
}
