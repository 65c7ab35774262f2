// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.BootTimeline.Entry;
import dev.nacelle.Stage;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentInfo;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * What the guest timed, on the host's clock. The two have one moment in common: the dial, which the
 * host sees, and whose answer the guest times. So the guest's marks are put where they were before
 * it, which is off by the way of that answer; the guest's clock itself, which starts somewhere in
 * the kernel's set-up, need not be known.
 *
 * <p>The guest is not trusted: what does not fit into its stage is left out.
 */
final class GuestMarks {
  private GuestMarks() {}

  /**
   * The parts of {@link Stage#BOOT}; moments in {@link System#nanoTime}.
   *
   * @param call when the start was called for
   * @param entry when the first vCPU entered the guest
   * @param dialled when the guest dialled
   * @param answered when its agent had answered the first call
   */
  static List<Entry> boot(long call, long entry, long dialled, long answered, AgentInfo agent) {
    long connected = agent.connectedNanos();
    long loaded = agent.modulesLoadedNanos();
    long init = agent.agentEnteredNanos();
    if (init > loaded || loaded > connected || connected - init > dialled - entry) {
      return List.of();
    }
    String[] parts = {"kernel", "modules", "connect", "answer"};
    long[] marks = {
      entry, dialled - (connected - init), dialled - (connected - loaded), dialled, answered
    };
    List<Entry> entries = new ArrayList<>();
    for (int i = 0; i < parts.length; i++) {
      entries.add(
          Entry.of(
              Stage.BOOT,
              parts[i],
              Duration.ofNanos(marks[i] - call),
              Duration.ofNanos(marks[i + 1] - marks[i])));
    }
    return entries;
  }

  /** The parts of {@link Stage#PREPARE}, one after the other from its start. */
  static List<Entry> prepare(Entry stage, List<AgentClient.Step> steps) {
    List<Entry> entries = new ArrayList<>();
    long spent = 0;
    for (AgentClient.Step step : steps) {
      if (step.nanos() > stage.duration().toNanos() - spent) {
        break;
      }
      Duration start = stage.start().plusNanos(spent);
      entries.add(Entry.of(Stage.PREPARE, step.name(), start, Duration.ofNanos(step.nanos())));
      spent += step.nanos();
    }
    return entries;
  }
}
