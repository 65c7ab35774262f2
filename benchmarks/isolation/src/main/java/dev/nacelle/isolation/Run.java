// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.isolation.results.Results;
import dev.nacelle.isolation.results.Results.Clock;
import dev.nacelle.isolation.results.Results.Peer;
import dev.nacelle.isolation.results.Results.Series;
import dev.nacelle.isolation.results.Results.Where;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * One run: round after round, and in each one isolation after the other, shuffled after each, with
 * JMH's calls in this process.
 */
final class Run {
  /** How many instances there are at most, whatever the budget is. */
  private static final int MOST = 1000;

  private static final int FEW = 5;

  /** Before the memory of idle instances is told. */
  private static final Duration SETTLING = Duration.ofSeconds(5);

  /** Likewise; what was started shares this process's memory up to its exec. */
  private static final Duration LEAST_SETTLING = Duration.ofMillis(200);

  /**
   * Of the order in which they take turns, which is another in each round and the same each run.
   */
  private static final long SEED = 15;

  private static final int AT_ONCE = 50;
  private static final int FEW_AT_ONCE = 5;

  /** For {@link #expected}: measured once, and no more exact than that. */
  private static final Map<String, Double> LIFE_SECONDS =
      Map.of("bare", 0.02, "runc", 0.2, "crun", 0.1);

  private static final double MACHINES_LIFE_SECONDS = 0.35;
  private static final double MACHINES_EXEC_SECONDS = 0.01;
  private static final double FIRST_SECONDS = 1;
  private static final double START_SECONDS = 5;
  private static final double LAB_START_SECONDS = 60;
  private static final double LAB_FACTOR = 10;
  private static final long BYTES_OF_AN_INSTANCE = 8 << 20;

  /**
   * What a run does.
   *
   * @param command of the image
   * @param isolations by their names
   * @param plans what is measured
   * @param rounds how often
   * @param shortened whether everything is done once, and little of it
   * @param counts of instances of which memory is measured
   * @param budget of memory for density, in bytes
   */
  record Order(
      String command,
      List<String> isolations,
      List<Plan> plans,
      int rounds,
      boolean shortened,
      List<Integer> counts,
      long budget) {}

  /** Calls of {@link LifeBenchmark} in a round. */
  private static final int CALLS = 5;

  /** Lives in a sample of "rate". */
  private static final int LIVES = 4;

  private final Session session;
  private final Order order;
  private final Map<String, String> unavailable = new HashMap<>();
  private final Map<List<String>, Integer> warmups = new HashMap<>();
  private final Set<String> broken = new HashSet<>();
  private final Path output;
  private final double load;
  private int rounds;
  private boolean leftSomething;

  /**
   * @param output to which results are written after each round, so that what ends a run does not
   *     lose them
   */
  Run(Session session, Order order, Path output) {
    this.session = session;
    this.order = order;
    this.output = output;
    load = ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage();
  }

  /** Takes all figures, saying what it is at. */
  Results take() throws IOException {
    for (String name : order.isolations()) {
      session.isolation(name).unavailable().ifPresent(why -> unavailable.put(name, why));
    }
    List<String> turns = new ArrayList<>(order.isolations());
    turns.removeAll(unavailable.keySet());
    unavailable.forEach((name, why) -> System.out.println(name + " is left out: " + why));
    if (order.plans().stream().anyMatch(Plan::needsServer)) {
      session.warmServer();
    }
    Random random = new Random(SEED);
    List<Plan> ours = order.plans().stream().filter(Plan::isPartlyOurs).toList();
    if (!order.shortened() && !ours.isEmpty()) {
      for (String name : turns) {
        timed("practice", name, () -> practise(ours, name));
      }
      turns.removeAll(broken);
    }
    Results results = results();
    for (int round = 0; round < order.rounds(); round++) {
      String title = "round %d of %d".formatted(round + 1, order.rounds());
      for (String name : turns) {
        timed(title, name, () -> turn(name));
      }
      turns.removeAll(broken);
      Collections.shuffle(turns, random);
      rounds = round + 1;
      results = results();
      results.write(output);
    }
    return results;
  }

  private static void timed(String title, String name, Runnable turn) {
    long start = System.nanoTime();
    turn.run();
    System.out.printf("%s, %s: %.1f s%n", title, name, (System.nanoTime() - start) / 1e9);
  }

  /**
   * A turn that does not count, of the figures in which this process has a part: else who comes
   * first is told slower, by code that Java has not compiled yet.
   */
  private void practise(List<Plan> ours, String name) {
    takeAll(ours, name);
    end(name);
    for (Plan plan : ours) {
      warmedUp(plan, name, session.discard(plan.name(), name));
    }
  }

  private void turn(String name) {
    if (takeAll(order.plans(), name)) {
      many(name);
    }
    end(name);
  }

  /** Returns whether there is an instance at the end. */
  private boolean takeAll(List<Plan> plans, String name) {
    boolean starts = starts(name);
    for (Plan plan : plans) {
      if (starts && isWanted(plan, name)) {
        take(plan, name);
        if (session.failure(plan.name(), name).isPresent()) {
          // It may be what a command that was killed has left: another for those that follow.
          end(name);
          starts = starts(name);
        }
      }
    }
    return starts;
  }

  /** Whether there is an instance; where none starts, that is the reason of all figures. */
  private boolean starts(String name) {
    try {
      session.instance(name);
      return true;
    } catch (IOException | RuntimeException e) {
      System.out.println(name + " does not start: " + e.getMessage());
      broken.add(name);
      for (Plan plan : order.plans()) {
        if (isWanted(plan, name)) {
          session.keepFailure(plan.name(), name, e);
        }
      }
      return false;
    }
  }

  private void end(String name) {
    try {
      session.closeInstance(name);
    } catch (IOException | RuntimeException e) {
      leftSomething = true;
      System.out.println(name + " does not end: " + e.getMessage());
    }
  }

  private boolean isWanted(Plan plan, String name) {
    return session.failure(plan.name(), name).isEmpty()
        && plan.missing(session.workload()).isEmpty()
        && !(plan.name().startsWith("memory-")
            && order.counts().stream().noneMatch(count -> plan.name().equals("memory-" + count)));
  }

  private void take(Plan plan, String name) {
    try {
      switch (plan.way()) {
        case CALL -> call(plan, name);
        case INSIDE -> inside(plan, name);
        case CROWD -> crowd(plan, name);
      }
    } catch (IOException | RunnerException | RuntimeException e) {
      session.keepFailure(plan.name(), name, e);
    }
    session
        .failure(plan.name(), name)
        .ifPresent(why -> System.out.println(name + ", " + plan.name() + ": " + why));
  }

  private ChainedOptionsBuilder options(Class<?> benchmark, String method, String isolation) {
    return new OptionsBuilder()
        .include("^" + benchmark.getName().replace(".", "\\.") + "\\." + method + "$")
        .param("isolation", isolation)
        .param("image", session.image())
        .param("command", order.command())
        .forks(0)
        .shouldFailOnError(true)
        .verbosity(VerboseMode.SILENT);
  }

  private void call(Plan plan, String name) throws RunnerException {
    // An instance is new in each round, and its first call fills the caches of its kernel.
    int warmup = plan.name().equals("exec") && !order.shortened() ? 1 : 0;
    ChainedOptionsBuilder options =
        options(LifeBenchmark.class, plan.name(), name)
            .warmupIterations(warmup)
            .measurementIterations(order.shortened() ? 1 : CALLS);
    List<Double> samples = new ArrayList<>();
    for (RunResult result : new Runner(options.build()).run()) {
      for (BenchmarkResult benchmark : result.getBenchmarkResults()) {
        for (IterationResult iteration : benchmark.getIterationResults()) {
          samples.add(iteration.getPrimaryResult().getScore());
        }
      }
    }
    if (session.failure(plan.name(), name).isEmpty()) {
      session.keep(plan.name(), name, samples);
    }
    warmedUp(plan, name, warmup);
  }

  private void inside(Plan plan, String name) throws RunnerException {
    ChainedOptionsBuilder options =
        options(ProbeBenchmark.class, "inside", name)
            .param("figure", plan.name())
            .param("shortened", String.valueOf(order.shortened()))
            .warmupIterations(0)
            .measurementIterations(1);
    new Runner(options.build()).run();
    warmedUp(plan, name, plan.warmup());
  }

  private void warmedUp(Plan plan, String name, int calls) {
    warmups.merge(List.of(plan.name(), name), calls, Integer::sum);
  }

  private void crowd(Plan plan, String name) throws IOException {
    List<String> command = IsolationState.parse(order.command());
    switch (plan.name()) {
      case "exec-50" -> {
        int atOnce = order.shortened() ? FEW_AT_ONCE : AT_ONCE;
        session.keep(plan.name(), name, Crowd.execs(session.instance(name), command, atOnce));
        if (atOnce != AT_ONCE) {
          session.keepNote(plan.name(), name, "only " + atOnce + " at once, in the short form");
        }
      }
      case "rate" -> {
        double rate = crowd(name).rate(order.shortened() ? 1 : LIVES);
        session.keep(plan.name(), name, List.of(rate));
      }
      default -> {
        // Memory and density are one pass: many().
      }
    }
  }

  private Crowd crowd(String name) {
    return new Crowd(
        session.isolation(name),
        session.workload(),
        IsolationState.parse(order.command()),
        session.patience());
  }

  /** Memory and density: in one pass. */
  private void many(String name) {
    List<String> wanted = new ArrayList<>();
    for (Plan plan : order.plans()) {
      if (plan.isMemory() && isWanted(plan, name)) {
        wanted.add(plan.name());
      }
    }
    if (wanted.isEmpty()) {
      return;
    }
    List<Integer> counts =
        order.counts().stream().filter(count -> wanted.contains("memory-" + count)).toList();
    int most = order.shortened() ? FEW : MOST;
    try {
      session.closeInstance(name);
      crowd(name)
          .memory(
              session.probe(),
              counts,
              wanted.contains("density") ? order.budget() : 0,
              most,
              order.shortened() ? LEAST_SETTLING : SETTLING,
              new Crowd.Memory() {
                @Override
                public void each(int count, double bytes) {
                  session.keep("memory-" + count, name, List.of(bytes));
                }

                @Override
                public void density(int count, boolean isFull) {
                  if (count == 0) {
                    session.keepNote("density", name, "the first takes more than the budget");
                    return;
                  }
                  session.keep("density", name, List.of((double) count));
                  if (!isFull) {
                    session.keepNote(
                        "density",
                        name,
                        "no more than " + most + " were tried; the budget has room");
                  }
                }
              });
    } catch (IOException | RuntimeException e) {
      wanted.forEach(figure -> session.keepFailure(figure, name, e));
      System.out.println(name + ", memory: " + e.getMessage());
    }
  }

  private Results results() throws IOException {
    List<Series> series = new ArrayList<>();
    for (Plan plan : order.plans()) {
      for (String name : order.isolations()) {
        series.add(series(plan, name));
      }
    }
    boolean inLab = System.getenv("NACELLE_KVM_LAB") != null;
    List<Peer> peers = new ArrayList<>();
    for (String name : order.isolations()) {
      Isolation isolation = session.isolation(name);
      String version = unavailable.containsKey(name) ? "" : isolation.version();
      peers.add(new Peer(name, isolation.label(), version));
    }
    return new Results(
        Results.FORMAT,
        Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(),
        inLab ? Where.LAB : Where.HARDWARE,
        Boolean.getBoolean("nacelle.isolation.icount") ? Clock.INSTRUCTIONS : Clock.TIME,
        order.shortened(),
        new Results.Host(
            System.getProperty("os.version"),
            Host.processor(),
            Runtime.getRuntime().availableProcessors(),
            Runtime.version().toString(),
            load),
        System.getProperty("nacelle.isolation.version", "unknown"),
        new Results.Image(session.image(), session.digest()),
        IsolationState.parse(order.command()),
        peers,
        order.plans().stream().map(Plan::figure).toList(),
        series,
        rounds);
  }

  private Series series(Plan plan, String name) {
    List<Double> samples = session.samples(plan.name(), name);
    if (!samples.isEmpty()) {
      return new Series(
          plan.name(),
          name,
          samples,
          warmups.getOrDefault(List.of(plan.name(), name), 0),
          null,
          session
              .failure(plan.name(), name)
              .map(why -> "not in every round: " + why)
              .or(() -> session.note(plan.name(), name))
              .orElse(null));
    }
    return Series.none(
        plan.name(),
        name,
        Optional.ofNullable(unavailable.get(name))
            .or(() -> plan.missing(session.workload()))
            .or(() -> session.failure(plan.name(), name))
            .or(() -> session.note(plan.name(), name))
            .orElse("it was not asked for in this run: see --instances"));
  }

  /**
   * How long it takes, roughly, on two processors that do nothing else: in the lab by the seconds
   * that its clock tells, each of which takes many of this machine's.
   */
  static Duration expected(Order order, boolean inLab) {
    double seconds = inLab ? LAB_START_SECONDS : START_SECONDS;
    for (String name : order.isolations()) {
      double life = LIFE_SECONDS.getOrDefault(name, MACHINES_LIFE_SECONDS);
      double round = life;
      double practice = life;
      for (Plan plan : order.plans()) {
        double figure =
            switch (plan.name()) {
              case "create", "life" -> life * (order.shortened() ? 1 : CALLS);
              case "rate" -> life * (order.shortened() ? 1 : LIVES);
              case "exec-50" ->
                  LIFE_SECONDS.getOrDefault(name, MACHINES_EXEC_SECONDS)
                      * (order.shortened() ? FEW_AT_ONCE : AT_ONCE);
              case "files" -> order.shortened() ? 0.1 : 1;
              default -> plan.way() == Plan.Way.INSIDE ? 0.1 : 0;
            };
        round += figure;
        practice += plan.isPartlyOurs() ? figure : 0;
      }
      boolean counts = order.plans().stream().anyMatch(plan -> plan.name().startsWith("memory"));
      int most = counts ? order.counts().stream().mapToInt(count -> count).max().orElse(0) : 0;
      boolean isDense = order.plans().stream().anyMatch(plan -> plan.name().equals("density"));
      int dense = isDense ? (int) Math.min(MOST, order.budget() / BYTES_OF_AN_INSTANCE) : 0;
      double emulated =
          (order.shortened() ? 0 : practice)
              + order.rounds() * (round + Math.max(most, dense) * life)
              + (inLab ? FIRST_SECONDS : 0);
      // Idle seconds pass as fast in the lab as elsewhere.
      seconds +=
          counts && !order.shortened()
              ? order.rounds() * (order.counts().size() + 1) * SETTLING.toSeconds()
              : 0;
      seconds += inLab ? emulated * LAB_FACTOR : emulated;
    }
    return Duration.ofSeconds((long) seconds);
  }

  /**
   * Whether a figure could not be taken that the image and the isolation have, or an instance does
   * not end.
   */
  boolean hasFailed() {
    return leftSomething
        || order.plans().stream()
            .anyMatch(
                plan ->
                    order.isolations().stream()
                        .anyMatch(name -> session.hasFailed(plan.name(), name)));
  }

  /** Whether an isolation was left out, because this machine does not have it. */
  boolean isIncomplete() {
    return !unavailable.isEmpty();
  }
}
