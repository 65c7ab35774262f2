// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.HypervisorException;
import dev.nacelle.Sandbox;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.spi.VirtualMachine;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;

/**
 * Who holds a sandbox's machine paused: it stands from the first of them to the last. What is
 * expected of the guest rests from before the machine does until it goes on. Safe for use from
 * several threads.
 */
final class SandboxPauses {
  private final VirtualMachine vm;
  private final AgentClient client;
  private final List<Held> held = new ArrayList<>(); // guarded by this
  private volatile List<String> reasons = List.of();

  SandboxPauses(VirtualMachine vm, AgentClient client) {
    this.vm = vm;
    this.client = client;
  }

  private final class Held implements Sandbox.Pause {
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
      end(this);
    }

    @Override
    public String toString() {
      return "pause " + reason;
    }
  }

  /** As {@link Sandbox#pause(String)}, of a sandbox that is alive. */
  synchronized Sandbox.Pause begin(String reason) {
    Held pause = new Held(Objects.requireNonNull(reason));
    if (!vm.abilities().contains(VirtualMachine.Ability.PAUSE)) {
      throw new UnsupportedOperationException("this host's hypervisor does not pause machines");
    }
    if (held.isEmpty()) {
      client.pause();
      try {
        vm.pause();
      } catch (RuntimeException | Error e) {
        client.resume();
        throw e;
      }
    }
    held.add(pause);
    tell();
    return pause;
  }

  private synchronized void end(Held pause) {
    if (!held.remove(pause)) {
      return;
    }
    tell();
    if (held.isEmpty()) {
      try {
        vm.resume();
      } catch (HypervisorException e) {
        // The machine has ended by that, which everybody is told who asks it for anything.
      } finally {
        client.resume();
      }
      // Its answer is of no interest: a guest that gives none is found out by other means.
      var unused = client.setClock(realtime());
    }
  }

  private void tell() {
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
