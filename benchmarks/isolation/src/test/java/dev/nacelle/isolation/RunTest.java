// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.isolation.example.MyBenchmark;
import dev.nacelle.isolation.example.MyIsolations;
import dev.nacelle.isolation.results.Results;
import dev.nacelle.isolation.results.Results.Series;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.VerboseMode;

/** Whole runs, of a bare process. */
class RunTest {
  @TempDir Path directory;
  private Session session;

  @BeforeEach
  void open() throws IOException {
    System.setProperty("jmh.ignoreLock", "true");
    session = SmallImage.session(directory);
    session.share();
  }

  @AfterEach
  void close() throws IOException {
    if (session != null) {
      session.close();
      SmallImage.unmount(directory);
    }
  }

  private Results take(String command, String... figures) throws IOException {
    List<Plan> plans = figures.length == 0 ? Plan.all() : Stream.of(figures).map(Plan::of).toList();
    return take(command, 1, plans);
  }

  private Results take(String command, int rounds, List<Plan> plans) throws IOException {
    return take(new Run.Order(command, List.of("bare"), plans, rounds, true, List.of(1), 1L << 40));
  }

  private Results take(Run.Order order) throws IOException {
    Path file = directory.resolve("results.json");
    Results results = new Run(session, order, file).take();
    assertEquals(results, Results.read(file));
    return results;
  }

  @Test
  void everyFigureHasSamplesOrSaysWhyNot() throws IOException {
    Results results = take("echo ready");
    List<String> none =
        results.series().stream()
            .filter(series -> series.none() != null)
            .map(series -> series.figure() + ": " + series.none())
            .toList();
    assertEquals(
        List.of(
            "python: the image has no python3",
            "java: the image has no java",
            "memory-10: it was not asked for in this run: see --instances",
            "memory-50: it was not asked for in this run: see --instances"),
        none);
    assertEquals(Plan.all().size(), results.series().size());
    for (Series series : results.series()) {
      List<Double> samples = series.samples();
      assertTrue(
          samples == null || samples.stream().allMatch(sample -> sample >= 0), series::toString);
      // A process's, and nothing of the JVM's that calls it.
      assertTrue(
          !series.figure().equals("memory-1") || samples.get(0) > 0 && samples.get(0) < 4 << 20,
          series::toString);
    }
    // More than this machine has, so that it is the number of tries that ends it.
    Series density = results.series().get(Plan.all().size() - 1);
    assertEquals(List.of(5.0), density.samples());
    assertEquals("no more than 5 were tried; the budget has room", density.note());
    String table = Tables.of(results);
    assertTrue(table.contains("exec round trip"), table);
    assertTrue(table.contains("none, bare: the image has no java (java)"), table);
  }

  @Test
  void commandThatFailsIsTheReason() throws IOException {
    Results results = take("sh -c 'echo broken >&2; exit 4'", "create", "exec");
    String reasons = results.series().stream().map(Series::none).collect(Collectors.joining("\n"));
    for (Series series : results.series()) {
      assertNotNull(series.none());
      assertTrue(series.none().contains("exit code 4: broken"), reasons);
    }
  }

  @Test
  void commandThatWritesNothingHasNoFirstByte() throws IOException {
    Series create = take("true", "create", "exec").series().get(0);
    assertEquals("true: it writes nothing, so its first byte never comes", create.none());
  }

  @Test
  void failureOfALaterRoundIsToldBesideTheSamples() throws IOException {
    Path mark = Files.createFile(directory.resolve("mark"));
    // A bare process sees the host's processes, and through them its files.
    String command =
        "sh -c 'echo ready; rm /proc/" + ProcessHandle.current().pid() + "/root" + mark + "'";
    Series create = take(command, 2, List.of(Plan.of("exec"))).series().get(0);
    assertEquals(List.of(1), List.of(create.samples().size()), create::toString);
    assertNotNull(create.note());
    assertTrue(create.note().startsWith("not in every round: sh -c"), create.note());
  }

  @Test
  void whatDoesNotStartIsTriedOnce() throws IOException {
    // In the way of the first instance alone.
    try (Stream<Path> work = Files.list(directory.resolve("work"))) {
      Files.createDirectories(work.findFirst().orElseThrow().resolve("bare-1/upper"));
    }
    for (Series series : take("echo ready", 2, Plan.all()).series()) {
      assertNotNull(series.none());
      assertTrue(
          series.none().contains("bare-1")
              || series.none().matches("the image has no .*|it was not.*"),
          series::toString);
    }
  }

  @Test
  void practiceDoesNotCount() throws IOException {
    List<Plan> plans = Stream.of("exec", "exec-50", "getpid").map(Plan::of).toList();
    List<Series> series =
        take(new Run.Order("true", List.of("bare"), plans, 2, false, List.of(1), 1)).series();
    assertEquals(
        // Two rounds of five, 50 and ten; of exec each turn has one before, of getpid each program.
        "exec 10 8, exec-50 100 50, getpid 20 2",
        series.stream()
            .map(each -> each.figure() + " " + each.samples().size() + " " + each.warmup())
            .collect(Collectors.joining(", ")));
  }

  @Test
  void longerOrderIsExpectedToTakeLonger() {
    Run.Order brief = order(List.of("bare"), 1, true);
    Run.Order longer = order(List.of("bare", "runc", "nacelle"), 3, false);
    for (boolean inLab : new boolean[] {false, true}) {
      assertTrue(Run.expected(brief, inLab).compareTo(Run.expected(longer, inLab)) < 0);
    }
    assertTrue(Run.expected(longer, false).compareTo(Run.expected(longer, true)) < 0);
  }

  private static Run.Order order(List<String> isolations, int rounds, boolean shortened) {
    return new Run.Order(
        "true", isolations, Plan.all(), rounds, shortened, List.of(1, 10, 50), 256 << 20);
  }

  /** Of a class outside this package, as README has it. */
  @Test
  void benchmarkOfAUsersOwnRuns() throws RunnerException {
    Options options =
        new OptionsBuilder()
            .include(MyBenchmark.class.getName())
            .param("isolation", "bare")
            .param("image", session.image())
            .forks(0)
            .warmupIterations(0)
            .measurementIterations(2)
            .shouldFailOnError(true)
            .verbosity(VerboseMode.SILENT)
            .build();
    RunResult result = new Runner(options).run().iterator().next();
    assertEquals(2, result.getPrimaryResult().getSampleCount());
  }

  /** It refuses other names before it builds anything. */
  @Test
  void scriptKnowsTheNames() throws IOException {
    String script = Files.readString(Path.of("../run"));
    assertEquals(Plan.all().stream().map(Plan::name).toList(), list(script, "figures"));
    assertEquals(
        session.isolations().stream()
            .map(Isolation::name)
            .filter(name -> !name.equals(MyIsolations.NAME))
            .toList(),
        list(script, "isolations"));
  }

  private static List<String> list(String script, String name) {
    Matcher list = Pattern.compile("(?m)^" + name + "=\\(([^)]*)\\)").matcher(script);
    assertTrue(list.find(), name);
    return List.of(list.group(1).strip().split("\\s+", -1));
  }

  @Test
  void isolationsAndFiguresAreCalledByTheirNames() {
    String error =
        assertThrows(IllegalArgumentException.class, () -> session.isolation("jail")).getMessage();
    assertTrue(
        error.startsWith("there is no isolation 'jail', but bare, runc, crun, nacelle"), error);
    error = assertThrows(IllegalArgumentException.class, () -> Plan.of("speed")).getMessage();
    assertTrue(error.startsWith("there is no figure 'speed', but create, exec"), error);
  }
}
