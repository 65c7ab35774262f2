// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.example;

import dev.nacelle.isolation.IsolationState;
import java.io.IOException;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Warmup;

/** A user's benchmark, as benchmarks/README.md has it. */
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3) // the first call starts the instance
@Measurement(iterations = 20)
@Fork(1)
public class MyBenchmark {
  @Benchmark
  public String hello(IsolationState state) throws IOException {
    return state.run("sh", "-c", "echo hello").text();
  }
}
