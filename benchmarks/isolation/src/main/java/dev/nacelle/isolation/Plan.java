// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.isolation.results.Results.Better;
import dev.nacelle.isolation.results.Results.Figure;
import dev.nacelle.isolation.results.Results.Unit;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * How a figure is taken.
 *
 * @param figure what it is
 * @param way in which it is taken
 * @param samples how many the program prints, for {@link Way#INSIDE}; those that do not count
 *     included
 * @param count of turns or bytes in each, for {@link Way#INSIDE}
 * @param program of the image that it needs; null for none
 */
record Plan(Figure figure, Way way, int samples, int count, @Nullable String program) {
  /** The ways to take one. */
  enum Way {
    /** By JMH, a call a sample: a method of {@link LifeBenchmark} of that name. */
    CALL,
    /** By a program in an instance, that JMH calls. */
    INSIDE,
    /** By many instances or calls at once: {@link Crowd}. */
    CROWD
  }

  /** What a program prints first and is not counted. */
  private static final int WARMUP = 1;

  /** Of a sample: with all samples far fewer than a sandbox may open at once. */
  private static final int CONNECTIONS = 20;

  private static final String KERNEL_COST =
      "exits to the host cost one instruction, and cache misses nothing";
  private static final String PROCESSOR_COST =
      "all instructions cost the same: neither cache misses nor a processor's width are seen";
  private static final String COPY_COST =
      "its machines have no AVX, with which the C library copies elsewhere (x1.6); "
          + PROCESSOR_COST;
  private static final String IN_MEMORY =
      "files are in memory, in every isolation; no disk is behind them";
  private static final String PROBE = "the probe's first call of a sample";
  private static final String PROBE_END = "its last, divided by their number";
  private static final String PYTHON =
      """
      import sys, time
      samples, count = int(sys.argv[1]), int(sys.argv[2])
      for _ in range(samples):
          start = time.perf_counter_ns()
          words = {}
          for i in range(count):
              word = str(i * 2654435761 % 1000)
              words[word] = words.get(word, 0) + len(word)
          sorted(words.items(), key=lambda item: item[1])
          print(time.perf_counter_ns() - start)
      """;

  private static final List<Plan> ALL =
      List.of(
          call(
              "create",
              "create to first output",
              "the call that makes an instance for the command",
              "the first byte of the command's output is read"),
          call(
              "exec",
              "exec round trip",
              "the call that starts the command in a running instance",
              "the command has ended and all its output is read"),
          call(
              "life",
              "whole life",
              "the call that makes an instance for the command",
              "the command has ended, its output is read, and its instance is closed; of Nacelle's"
                  + " the host's kernel may still be closing KVM's machine"),
          crowd(
              "exec-50",
              "exec, 50 at once",
              "life",
              Unit.NANOSECONDS,
              Better.LOWER,
              "a call, by one of 50 threads, that starts the command in one running instance",
              "the command has ended and all its output is read",
              KERNEL_COST),
          crowd(
              "rate",
              "starts and stops per core",
              "life",
              Unit.PER_SECOND,
              Better.HIGHER,
              "whole lives, one after the other in as many threads as there are processors",
              "so many in a second, divided by the processors",
              KERNEL_COST),
          inside("getpid", "getpid", "system calls", 11, 5_000, KERNEL_COST),
          inside("read", "read of a byte", "system calls", 11, 5_000, KERNEL_COST),
          inside("open", "open and close", "system calls", 11, 1_000, KERNEL_COST),
          inside("futex", "futex wake, there and back", "system calls", 11, 500, KERNEL_COST),
          inside(
              "switch",
              "context switch by pipes, there and back",
              "system calls",
              11,
              500,
              KERNEL_COST),
          inside(
              "fault",
              "page fault",
              "system calls",
              11,
              1_000,
              "a nested page walk costs as much as another"),
          inside(
              "fork",
              "fork, exit, wait",
              "system calls",
              11,
              20,
              "a nested page walk costs as much as another"),
          rate("sha256", "SHA-256", "processor", 6, 1 << 20, PROCESSOR_COST),
          rate("copy", "memory copied", "processor", 6, 16 << 20, COPY_COST),
          program("python", "Python: a dictionary of words", "python3", 6, 5_000),
          program("java", "Java: a map of words", "java", 6, 20_000),
          rate("write", "file written", "files", 4, 16 << 20, IN_MEMORY),
          rate("scan", "file read", "files", 4, 16 << 20, IN_MEMORY),
          inside("random-write", "4 KiB written anywhere", "files", 6, 1_000, IN_MEMORY),
          inside("random-read", "4 KiB read anywhere", "files", 6, 1_000, IN_MEMORY),
          inside("files", "small file made, read, removed", "files", 2, 10_000, IN_MEMORY),
          inside("fsync", "4 KiB written and fsync", "files", 6, 100, IN_MEMORY),
          inside("tcp-latency", "TCP, a byte there and back", "network", 6, 100, KERNEL_COST),
          inside(
              "tcp-connect", "TCP, connection and a byte", "network", 6, CONNECTIONS, KERNEL_COST),
          rate("tcp-up", "TCP, sent", "network", 4, 8 << 20, KERNEL_COST),
          rate("tcp-down", "TCP, received", "network", 4, 8 << 20, KERNEL_COST),
          rate("tcp-up-8", "TCP, sent by 8", "network", 4, 8 << 20, KERNEL_COST),
          rate("tcp-down-8", "TCP, received by 8", "network", 4, 8 << 20, KERNEL_COST),
          memory(1),
          memory(10),
          memory(50),
          crowd(
              "density",
              "idle instances in the budget",
              "memory",
              Unit.COUNT,
              Better.HIGHER,
              "the machine's memory with none",
              "so many are there when what it has available is less by the budget",
              null));

  private static Plan call(String name, String title, String from, String to) {
    return new Plan(
        new Figure(name, title, "life", Unit.NANOSECONDS, Better.LOWER, from, to, KERNEL_COST),
        Way.CALL,
        0,
        0,
        null);
  }

  private static Plan crowd(
      String name,
      String title,
      String group,
      Unit unit,
      Better better,
      String from,
      String to,
      @Nullable String blind) {
    return new Plan(
        new Figure(name, title, group, unit, better, from, to, blind), Way.CROWD, 0, 0, null);
  }

  private static Plan memory(int count) {
    return crowd(
        "memory-" + count,
        "memory of an idle instance, of " + count,
        "memory",
        Unit.BYTES,
        Better.LOWER,
        "what all instances have mapped, and this process where it has a part in them, their"
            + " shares (PSS), with none",
        "the same with " + count + ", divided by their number; the kernel's memory is not in it",
        null);
  }

  private static Plan inside(
      String name, String title, String group, int samples, int count, String blind) {
    return new Plan(
        new Figure(name, title, group, Unit.NANOSECONDS, Better.LOWER, PROBE, PROBE_END, blind),
        Way.INSIDE,
        samples,
        count,
        null);
  }

  private static Plan rate(
      String name, String title, String group, int samples, int count, String blind) {
    return new Plan(
        new Figure(
            name,
            title,
            group,
            Unit.BYTES_PER_SECOND,
            Better.HIGHER,
            "the first byte of " + (count >> 20) + " MiB",
            "the last",
            blind),
        Way.INSIDE,
        samples,
        count,
        null);
  }

  private static Plan program(String name, String title, String program, int samples, int count) {
    return new Plan(
        new Figure(
            name,
            title,
            "processor",
            Unit.NANOSECONDS,
            Better.LOWER,
            "the first of " + count + " words, in a program that has run once",
            "the last",
            PROCESSOR_COST),
        Way.INSIDE,
        samples,
        count,
        program);
  }

  static List<Plan> all() {
    return ALL;
  }

  /**
   * That of a figure.
   *
   * @throws IllegalArgumentException when there is none; the message lists them
   */
  static Plan of(String name) {
    return ALL.stream()
        .filter(plan -> plan.figure.name().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "there is no figure '"
                        + name
                        + "', but "
                        + ALL.stream()
                            .map(plan -> plan.figure.name())
                            .collect(Collectors.joining(", "))));
  }

  String name() {
    return figure.name();
  }

  /** Whether an instance speaks to the server of the host for it. */
  boolean needsServer() {
    return figure.group().equals("network");
  }

  /** Whether many idle instances are started for it, in one pass with all others of its kind. */
  boolean isMemory() {
    return figure.group().equals("memory");
  }

  /** Whether the process that measures has a part in what is measured. */
  boolean isPartlyOurs() {
    return way == Way.CALL || needsServer() || (way == Way.CROWD && !isMemory());
  }

  /** How many of a program's samples do not count. */
  int warmup() {
    return way == Way.INSIDE ? WARMUP : 0;
  }

  /** Why it cannot be taken of an image; empty where it can. */
  Optional<String> missing(Workload workload) {
    return program == null || workload.has(program)
        ? Optional.empty()
        : Optional.of("the image has no " + program);
  }

  /** Runs the program that takes it. */
  Output run(Instance instance, Workload workload, boolean shortened) throws IOException {
    String printed = String.valueOf(shortened ? WARMUP + 1 : samples);
    String turns = String.valueOf(shortened ? Math.max(1, count / 10) : count);
    List<String> command = new ArrayList<>();
    if ("python3".equals(program)) {
      command.addAll(List.of("python3", "-c", PYTHON, printed, turns));
    } else if ("java".equals(program)) {
      JavaWords.put(instance);
      command.addAll(List.of("java", "-XX:+UseSerialGC", "-jar", JavaWords.PATH, printed, turns));
    } else {
      command.addAll(Arrays.asList(Probe.PATH, name(), printed, turns));
      if (needsServer()) {
        command.add(
            instance.service().orElseThrow(() -> new IOException("it has no network here")));
      }
    }
    Output output = instance.run(command);
    if (output.stderr().contains("UnsupportedClassVersionError")) {
      throw new Missing("the image's Java is older than 17");
    }
    return output.orThrow(command);
  }
}
