// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.ProcessException;
import dev.nacelle.ProcessException.Reason;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.Queue;

/** Those of one sandbox: what runs, and the last that have ended. Safe for use from threads. */
final class DetachedProcesses {
  /** How many that have ended can still be attached to. */
  static final int KEPT = 64;

  private final Map<Long, DetachedProcess> known = new HashMap<>(); // guarded by this
  private final Queue<Long> ended = new ArrayDeque<>(); // guarded by this

  /** Adds one that has started. */
  void add(DetachedProcess process) {
    synchronized (this) {
      known.put(process.id(), process);
    }
    var unused = process.ended().whenComplete((status, failure) -> onEnd(process.id()));
  }

  private synchronized void onEnd(long id) {
    ended.add(id);
    if (ended.size() > KEPT) {
      known.remove(ended.remove());
    }
  }

  /**
   * One by its identifier.
   *
   * @throws ProcessException when it is not known
   */
  synchronized DetachedProcess find(long id) {
    DetachedProcess process = known.get(id);
    if (process == null) {
      throw new ProcessException(
          Reason.NOT_FOUND,
          "There is no detached process " + id + ", or it has ended long ago",
          null,
          null);
    }
    return process;
  }
}
