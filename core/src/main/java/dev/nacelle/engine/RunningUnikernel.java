// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.InterruptedOperationException;
import dev.nacelle.Pause;
import dev.nacelle.Stage;
import dev.nacelle.Unikernel;
import dev.nacelle.UnikernelExit;
import dev.nacelle.UnikernelSpec;
import dev.nacelle.VmStatistics;
import dev.nacelle.agent.GuestTimers;
import dev.nacelle.spi.VirtualMachine;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A unikernel on its machine, which it owns. */
final class RunningUnikernel implements Unikernel {
  private final UnikernelSpec spec;
  private final String name;
  private final VirtualMachine vm;
  private final GuestTimers timers;
  private final Workers workers;
  private final Pauses pauses;
  private final Consumer<RunningUnikernel> onEnd;
  private final AtomicBoolean ending = new AtomicBoolean();
  private final CompletableFuture<UnikernelExit> exit = new CompletableFuture<>();

  /** The hypervisor's thread that is in the console's listener. */
  private volatile @Nullable Thread listening;

  /**
   * @param onEnd called once, when everything is released
   */
  RunningUnikernel(
      UnikernelSpec spec,
      String name,
      VirtualMachine vm,
      GuestTimers timers,
      Workers workers,
      Consumer<RunningUnikernel> onEnd) {
    this.spec = spec;
    this.name = name;
    this.vm = vm;
    this.timers = timers;
    pauses =
        new Pauses(
            vm,
            new Pauses.Concerned() {
              @Override
              public void rest() {
                timers.pause();
              }

              @Override
              public void goOn() {
                timers.resume();
              }
            });
    this.workers = workers;
    this.onEnd = onEnd;
  }

  /** Runs its first instruction, and from then on its time. */
  void start() {
    spec.console()
        .ifPresent(
            listener -> {
              var unused = vm.console().stream(output -> onOutput(listener, output));
            });
    vm.start();
    Future<?> deadline =
        timers.schedule(() -> workers.executePatiently(() -> end(true)), spec.timeout());
    var unused =
        vm.exit()
            .thenAccept(
                how -> {
                  deadline.cancel(false);
                  workers.executePatiently(() -> end(false));
                });
  }

  private void onOutput(Consumer<byte[]> listener, byte[] output) {
    listening = Thread.currentThread();
    try {
      listener.accept(output);
    } finally {
      listening = null;
    }
  }

  private void end(boolean timedOut) {
    if (ending.compareAndSet(false, true)) {
      // It may have ended in the last moment.
      boolean late = timedOut && !vm.exit().isDone();
      Quietly.run("closing the machine of " + this, vm::close);
      Quietly.run("forgetting " + this, () -> onEnd.accept(this));
      exit.complete(
          UnikernelExit.of(vm.exit().getNow(Failures.NOT_CLOSED), late, vm.console().tail()));
    } else {
      exit.join();
    }
  }

  @Override
  public boolean isAlive() {
    return !vm.exit().isDone();
  }

  @Override
  public UnikernelSpec spec() {
    return spec;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String console() {
    return vm.console().tail();
  }

  @Override
  public VmStatistics statistics() {
    return vm.statistics();
  }

  @Override
  public Pause pause(String reason) {
    if (!isAlive()) {
      throw new IllegalStateException("the " + this + " has ended");
    }
    return pauses.begin(reason);
  }

  @Override
  public List<String> pauses() {
    return isAlive() ? pauses.reasons() : List.of();
  }

  @Override
  public CompletableFuture<UnikernelExit> onExit() {
    return exit.thenApplyAsync(how -> how, workers::executePatiently);
  }

  @Override
  public UnikernelExit waitFor() {
    return waitFor(ChronoUnit.FOREVER.getDuration()).orElseThrow();
  }

  @Override
  public Optional<UnikernelExit> waitFor(Duration timeout) {
    try {
      return Optional.of(exit.get(TimeUnit.NANOSECONDS.convert(timeout), TimeUnit.NANOSECONDS));
    } catch (TimeoutException e) {
      return Optional.empty();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedOperationException(
          Stage.RUN, "interrupted while waiting for " + this, e);
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void close() {
    if (Thread.currentThread().equals(listening)) {
      // The machine's end waits for this thread.
      workers.executePatiently(() -> end(false));
    } else {
      end(false);
    }
  }

  @Override
  public String toString() {
    return "unikernel " + name;
  }
}
