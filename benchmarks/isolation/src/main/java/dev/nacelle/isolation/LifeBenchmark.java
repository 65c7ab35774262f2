// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** From the call to the first output, to the end, and of one more command. One call a sample. */
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 2)
@Measurement(iterations = 10)
@Fork(1)
public class LifeBenchmark {
  /** What was launched, until it has been removed, which is not measured. */
  @State(Scope.Benchmark)
  public static class Launched extends IsolationState {
    private @Nullable Running running;

    Running launch() throws IOException {
      running = isolation().launch(workload(), command());
      return running;
    }

    /** For JMH. */
    @TearDown(Level.Invocation)
    public void remove() throws IOException {
      attempt("create", this::end);
    }

    private Object end() throws IOException {
      Running over = running;
      running = null;
      if (over == null) {
        return this;
      }
      try (over) {
        return Patience.finish(over, command(), session().patience()).orThrow(command());
      }
    }
  }

  /** From the call to the first byte that the command writes; it is an error to write none. */
  @Benchmark
  public Object create(Launched state) throws IOException {
    return state.attempt(
        "create",
        () -> {
          Running running = state.launch();
          List<String> command = state.command();
          Duration patience = state.session().patience();
          int first = Patience.within(patience, command, running, () -> running.stdout().read());
          if (first < 0) {
            Patience.finish(running, command, patience).orThrow(command);
            throw new IOException(
                String.join(" ", command) + ": it writes nothing, so its first byte never comes");
          }
          return first;
        });
  }

  /**
   * From the call to when the command has run to its end and the instance is closed. Nacelle's
   * close does not wait for the kernel's of KVM's machine.
   */
  @Benchmark
  public Object life(IsolationState state) throws IOException {
    return state.attempt(
        "life",
        () -> {
          List<String> command = state.command();
          try (Running running = state.isolation().launch(state.workload(), command)) {
            return Patience.finish(running, command, state.session().patience()).orThrow(command);
          }
        });
  }

  /** From the call to the end of the command, all its output read, in an instance that is there. */
  @Benchmark
  public Object exec(IsolationState state) throws IOException {
    return state.attempt(
        "exec",
        () -> {
          List<String> command = state.command();
          return state.instance().run(command).orThrow(command);
        });
  }
}
