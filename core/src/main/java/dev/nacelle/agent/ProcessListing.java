// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.GuestProcessInfo;
import dev.nacelle.agent.AgentException.Kind;
import dev.nacelle.proto.agent.v1.ListProcessesResponse;
import dev.nacelle.proto.agent.v1.ProcessInfo;
import java.time.Instant;
import java.util.List;

/** Reads pages of the guest's list of processes. */
final class ProcessListing {
  private ProcessListing() {}

  /**
   * Adds a page to those before it, up to a limit of all together.
   *
   * @throws AgentException when the identifiers do not ascend, or there is another page after an
   *     empty one, so that the list might never end
   */
  static void add(List<GuestProcessInfo> all, ListProcessesResponse page, int limit)
      throws AgentException {
    Instant now = Instant.now();
    for (ProcessInfo info : page.getProcessesList()) {
      if (all.size() == limit) {
        return;
      }
      long last = all.isEmpty() ? 0 : all.get(all.size() - 1).id();
      if (info.getProcessId() <= last) {
        throw misbehaved();
      }
      GuestProcessInfo.Builder process =
          GuestProcessInfo.builder(info.getProcessId(), GuestText.clean(info.getCommand()))
              .running(info.getRunning())
              .startedAt(now.minusNanos(AgentInfo.notNegative(info.getAgeNanos())))
              .treeSize(Math.max(0, info.getTreeSize()));
      if (info.getPid() != 0) {
        process.pid(Integer.toUnsignedLong(info.getPid()));
      }
      all.add(process.build());
    }
    if (page.getMore() && page.getProcessesCount() == 0) {
      throw misbehaved();
    }
  }

  private static AgentException misbehaved() {
    return new AgentException(Kind.MISBEHAVED, "the guest agent lists processes out of order");
  }
}
