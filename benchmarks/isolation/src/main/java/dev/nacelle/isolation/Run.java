// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.isolation.results.Results;
import dev.nacelle.isolation.results.Results.Clock;
import dev.nacelle.isolation.results.Results.Peer;
import dev.nacelle.isolation.results.Results.Series;
import dev.nacelle.isolation.results.Results.Where;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * One run: round after round, and in each one isolation after the other, in another order each
 * time, with JMH's calls in this process.
 */
final class Run {
  /** How many instances there are at most, whatever the budget is. */
  private static final int MOST = 1000;

  private static final int FEW = 5;

  private static final int AT_ONCE = 50;
  private static final int FEW_AT_ONCE = 5;

  /** For {@link #expected}: measured once, and no more exact than that. */
  private static final Map<String, Double> LIFE_SECONDS =
      Map.of("bare", 0.02, "runc", 0.2, "crun", 0.1);

  private static final double MACHINES_LIFE_SECONDS = 0.35;
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

  /** Calls of {@link LifeBenchmark} in a round, and how many more in the first do not count. */
  private static final int CALLS = 5;

  private static final int WARM_UPS = 2;

  /** Lives in a sample of "rate". */
  private static final int LIVES = 4;

  private final Session session;
  private final Order order;
  private final Map<String, String> unavailable = new HashMap<>();
  private final Map<String, Integer> warmups = new HashMap<>();
  private final double load;

  Run(Session session, Order order) {
    this.session = session;
    this.order = order;
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
    for (int round = 0; round < order.rounds(); round++) {
      for (String name : turns) {
        long start = System.nanoTime();
        for (Plan plan : order.plans()) {
          take(plan, name, round);
        }
        many(name, round);
        session.closeInstance(name);
        System.out.printf(
            "round %d of %d, %s: %.1f s%n",
            round + 1, order.rounds(), name, (System.nanoTime() - start) / 1e9);
      }
      Collections.rotate(turns, -1);
    }
    return results();
  }

  private void take(Plan plan, String name, int round) {
    boolean failed = session.failure(plan.name(), name).isPresent();
    if (failed || plan.missing(session.workload()).isPresent()) {
      return;
    }
    try {
      switch (plan.way()) {
        case CALL -> call(plan, name, round);
        case INSIDE -> inside(plan, name);
        case CROWD -> crowd(plan, name, round);
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

  private void call(Plan plan, String name, int round) throws IOException, RunnerException {
    if (plan.name().equals("exec")) {
      session.instance(name); // its start is no part of it
    }
    int warmup = order.shortened() || round > 0 ? 0 : WARM_UPS;
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
    warmups.merge(plan.name(), warmup, Math::max);
  }

  private void inside(Plan plan, String name) throws RunnerException {
    ChainedOptionsBuilder options =
        options(ProbeBenchmark.class, "inside", name)
            .param("figure", plan.name())
            .param("shortened", String.valueOf(order.shortened()))
            .warmupIterations(0)
            .measurementIterations(1);
    new Runner(options.build()).run();
    warmups.put(plan.name(), plan.warmup());
  }

  private void crowd(Plan plan, String name, int round) throws IOException {
    List<String> command = IsolationState.parse(order.command());
    switch (plan.name()) {
      case "exec-50" ->
          session.keep(
              plan.name(),
              name,
              Crowd.execs(
                  session.instance(name), command, order.shortened() ? FEW_AT_ONCE : AT_ONCE));
      case "rate" ->
          session.keep(
              plan.name(),
              name,
              List.of(
                  new Crowd(session.isolation(name), session.workload(), command)
                      .rate(order.shortened() ? 1 : LIVES)));
      default -> {
        // Memory and density are one pass: many().
      }
    }
  }

  /** Memory and density: in one pass, and in the first round alone, since it takes long. */
  private void many(String name, int round) {
    List<String> wanted = new ArrayList<>();
    for (Plan plan : order.plans()) {
      if (plan.figure().group().equals("memory")) {
        wanted.add(plan.name());
      }
    }
    if (round > 0 || wanted.isEmpty()) {
      return;
    }
    List<Integer> counts =
        order.counts().stream().filter(count -> wanted.contains("memory-" + count)).toList();
    try {
      session.closeInstance(name);
      new Crowd(session.isolation(name), session.workload(), IsolationState.parse(order.command()))
          .memory(
              session.probe(),
              counts,
              wanted.contains("density") ? order.budget() : 0,
              order.shortened() ? FEW : MOST,
              new Crowd.Memory() {
                @Override
                public void each(int count, double bytes) {
                  session.keep("memory-" + count, name, List.of(bytes));
                }

                @Override
                public void density(int count) {
                  session.keep("density", name, List.of((double) count));
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
        series);
  }

  private Series series(Plan plan, String name) {
    List<Double> samples = session.samples(plan.name(), name);
    if (!samples.isEmpty()) {
      return Series.of(plan.name(), name, samples, warmups.getOrDefault(plan.name(), 0));
    }
    return Series.none(
        plan.name(),
        name,
        Optional.ofNullable(unavailable.get(name))
            .or(() -> plan.missing(session.workload()))
            .or(() -> session.failure(plan.name(), name))
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
      for (Plan plan : order.plans()) {
        round +=
            switch (plan.name()) {
              case "create", "life" -> life * (order.shortened() ? 1 : CALLS);
              case "rate" -> life * (order.shortened() ? 1 : LIVES);
              case "exec-50" -> life * (order.shortened() ? FEW_AT_ONCE : AT_ONCE) / 2;
              case "files" -> order.shortened() ? 0.1 : 1;
              default -> plan.way() == Plan.Way.INSIDE ? 0.1 : 0;
            };
      }
      boolean counts = order.plans().stream().anyMatch(plan -> plan.name().startsWith("memory"));
      int most = counts ? order.counts().stream().mapToInt(count -> count).max().orElse(0) : 0;
      boolean isDense = order.plans().stream().anyMatch(plan -> plan.name().equals("density"));
      int dense = isDense ? (int) Math.min(MOST, order.budget() / BYTES_OF_AN_INSTANCE) : 0;
      double emulated =
          order.rounds() * round + Math.max(most, dense) * life + (inLab ? FIRST_SECONDS : 0);
      seconds += inLab ? emulated * LAB_FACTOR : emulated;
    }
    return Duration.ofSeconds((long) seconds);
  }

  /** Whether a figure could not be taken that the image and the isolation have. */
  boolean hasFailed() {
    return order.plans().stream()
        .anyMatch(
            plan ->
                order.isolations().stream()
                    .anyMatch(name -> session.failure(plan.name(), name).isPresent()));
  }

  /** Whether an isolation was left out, because this machine does not have it. */
  boolean isIncomplete() {
    return !unavailable.isEmpty();
  }
}
