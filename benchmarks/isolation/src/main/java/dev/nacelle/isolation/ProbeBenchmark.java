// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What a program measures of itself in an instance. JMH's own time is of the whole command; the
 * figure is what the program prints.
 */
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 0)
@Measurement(iterations = 1)
@Fork(1)
public class ProbeBenchmark {
  /** Which. */
  @State(Scope.Benchmark)
  public static class Inside extends IsolationState {
    /** A {@link Plan} by its figure's name. */
    @Param({"getpid"})
    public String figure = "";

    /** Whether it is to be as short as can be. */
    @Param({"false"})
    public boolean shortened;
  }

  /** Runs it, and keeps its samples. */
  @Benchmark
  public Object inside(Inside state) throws IOException {
    return state.attempt(
        state.figure,
        () -> {
          Plan plan = Plan.of(state.figure);
          List<Double> samples =
              Session.numbers(plan.run(state.instance(), state.workload(), state.shortened));
          List<Double> counted =
              samples.subList(Math.min(plan.warmup(), samples.size()), samples.size());
          state.session().keep(state.figure, state.isolation, counted);
          return counted;
        });
  }
}
