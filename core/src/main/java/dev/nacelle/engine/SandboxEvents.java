// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxListener;
import dev.nacelle.Stage;
import dev.nacelle.internal.ListenerGuard;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import org.jspecify.annotations.Nullable;

/**
 * Tells listeners of one sandbox, of one event after the other. Whoever finds nobody at it delivers
 * what there is, with no lock held; the others go on. Safe for use from several threads.
 */
final class SandboxEvents {
  /** A listener, and what keeps its failures from being more than that. */
  record Guarded(SandboxListener listener, ListenerGuard guard) {
    Guarded(SandboxListener listener) {
      this(listener, new ListenerGuard("a sandbox listener"));
    }
  }

  private final String id;
  private final String name;
  private final List<Guarded> listeners;
  private final Queue<SandboxEvent> waiting = new ArrayDeque<>(); // guarded by this
  private boolean delivering; // guarded by this

  SandboxEvents(String id, String name, List<Guarded> listeners) {
    this.id = id;
    this.name = name;
    this.listeners = listeners;
  }

  String id() {
    return id;
  }

  String name() {
    return name;
  }

  void stageStarted(Stage stage) {
    tell(new SandboxEvent.StageStarted(id, name, Instant.now(), stage));
  }

  void stageEnded(Stage stage, Duration duration) {
    tell(new SandboxEvent.StageEnded(id, name, Instant.now(), stage, duration));
  }

  void started() {
    tell(new SandboxEvent.Started(id, name, Instant.now()));
  }

  void startFailed(Throwable failure) {
    tell(new SandboxEvent.StartFailed(id, name, Instant.now(), failure));
  }

  void ended(SandboxExit exit) {
    tell(new SandboxEvent.Ended(id, name, Instant.now(), exit));
  }

  private void tell(SandboxEvent event) {
    if (listeners.isEmpty()) {
      return;
    }
    synchronized (this) {
      waiting.add(event);
      if (delivering) {
        return;
      }
      delivering = true;
    }
    for (SandboxEvent next = next(); next != null; next = next()) {
      SandboxEvent told = next;
      listeners.forEach(one -> one.guard().run(() -> one.listener().onEvent(told)));
    }
  }

  private synchronized @Nullable SandboxEvent next() {
    SandboxEvent next = waiting.poll();
    delivering = next != null;
    return next;
  }
}
