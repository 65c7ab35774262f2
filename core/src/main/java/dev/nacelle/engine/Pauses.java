// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.HypervisorException;
import dev.nacelle.Pause;
import dev.nacelle.Sandbox;
import dev.nacelle.spi.VirtualMachine;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;

/**
 * Who holds a machine paused: it stands from the first of them to the last. What is expected of the
 * guest rests from before the machine does until it goes on. Safe for use from several threads.
 */
final class Pauses {
  /** Those whom a machine's pauses concern. */
  interface Concerned {
    /** The machine is about to stand still: nothing is expected of its guest. */
    void rest();

    /** The guest has the rest of its time, for whatever it owes. */
    void goOn();

    /**
     * The machine stands still.
     *
     * @return tells of it, with no lock held
     */
    default Runnable stands(String reason) {
      return Pauses::tellNobody;
    }

    /**
     * The machine goes on.
     *
     * @param time for which it stood
     * @return tells of it, with no lock held
     */
    default Runnable goesOn(Duration time) {
      return Pauses::tellNobody;
    }
  }

  private static void tellNobody() {}

  private final VirtualMachine vm;
  private final Concerned concerned;
  private final List<Held> held = new ArrayList<>(); // guarded by this
  private long since; // guarded by this
  private volatile List<String> reasons = List.of();

  Pauses(VirtualMachine vm, Concerned concerned) {
    this.vm = vm;
    this.concerned = concerned;
  }

  private final class Held implements Pause {
    private final String reason;

    Held(String reason) {
      this.reason = reason;
    }

    @Override
    public String reason() {
      return reason;
    }

    @Override
    public void close() {
      end(this).run();
    }

    @Override
    public String toString() {
      return "pause " + reason;
    }
  }

  /** As {@link Sandbox#pause(String)}, of a machine that has not ended. */
  Pause begin(String reason) {
    Held pause = new Held(Objects.requireNonNull(reason));
    begin(pause).run();
    return pause;
  }

  private synchronized Runnable begin(Held pause) {
    if (!vm.abilities().contains(VirtualMachine.Ability.PAUSE)) {
      throw new UnsupportedOperationException("this host's hypervisor does not pause machines");
    }
    boolean first = held.isEmpty();
    if (first) {
      concerned.rest();
      try {
        vm.pause();
      } catch (RuntimeException | Error e) {
        concerned.goOn();
        throw e;
      }
      since = System.nanoTime();
    }
    held.add(pause);
    update();
    return first && !vm.exit().isDone() ? concerned.stands(pause.reason) : Pauses::tellNobody;
  }

  private synchronized Runnable end(Held pause) {
    if (!held.remove(pause)) {
      return Pauses::tellNobody;
    }
    update();
    if (!held.isEmpty()) {
      return Pauses::tellNobody;
    }
    Duration time = Duration.ofNanos(System.nanoTime() - since);
    try {
      vm.resume();
    } catch (HypervisorException e) {
      // The machine has ended by that, which everybody is told who asks it for anything.
      return Pauses::tellNobody;
    } finally {
      concerned.goOn();
    }
    return vm.exit().isDone() ? Pauses::tellNobody : concerned.goesOn(time);
  }

  private void update() {
    reasons = held.stream().map(Held::reason).toList();
  }

  /** The reasons of those that hold it paused, in their order; empty while it runs. */
  List<String> reasons() {
    return reasons;
  }

  /** The host's wall clock, in nanoseconds since the Unix epoch. */
  static long realtime() {
    Instant now = Instant.now();
    return TimeUnit.SECONDS.toNanos(now.getEpochSecond()) + now.getNano();
  }
}
