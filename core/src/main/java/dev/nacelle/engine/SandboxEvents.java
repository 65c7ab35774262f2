// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxListener;
import dev.nacelle.Stage;
import dev.nacelle.internal.ListenerGuard;
import dev.nacelle.internal.jfr.Recordings;
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

  /** An event, and what is done when it has been delivered. */
  private record Waiting(SandboxEvent event, Runnable after) {}

  private final Queue<Waiting> waiting = new ArrayDeque<>(); // guarded by this
  private boolean delivering; // guarded by this
  private boolean ended; // guarded by this

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
    Recordings.exit(id, name, exit);
    tell(new SandboxEvent.Ended(id, name, Instant.now(), exit));
  }

  /**
   * Its machine stands still.
   *
   * @return as {@link #add}
   */
  Runnable paused(String reason) {
    return add(new SandboxEvent.Paused(id, name, Instant.now(), reason), () -> {});
  }

  /**
   * Its machine goes on.
   *
   * @return as {@link #add}
   */
  Runnable resumed(Duration paused) {
    return add(new SandboxEvent.Resumed(id, name, Instant.now(), paused), () -> {});
  }

  /** Whether there is anybody to tell. */
  boolean areHeard() {
    return !listeners.isEmpty();
  }

  private void tell(SandboxEvent event) {
    tell(event, () -> {});
  }

  /**
   * Tells of what happened in the guest; of nothing once the sandbox has ended.
   *
   * @param after runs when the event has been delivered, or is not to be: until then there is to be
   *     no other, so that a slow listener makes the guest's events wait in the guest
   */
  void tell(SandboxEvent event, Runnable after) {
    add(event, after).run();
  }

  /**
   * Puts an event behind those that there are, for one who holds a lock.
   *
   * @return delivers what is to be delivered; to be run once, when the lock is left
   */
  private synchronized Runnable add(SandboxEvent event, Runnable after) {
    if (listeners.isEmpty() || ended) {
      return () -> {};
    }
    ended = event instanceof SandboxEvent.Ended;
    waiting.add(new Waiting(event, after));
    if (delivering) {
      return () -> {};
    }
    delivering = true;
    return this::deliver;
  }

  private void deliver() {
    for (Waiting next = next(); next != null; next = next()) {
      SandboxEvent told = next.event();
      listeners.forEach(one -> one.guard().run(() -> one.listener().onEvent(told)));
      next.after().run();
    }
  }

  private synchronized @Nullable Waiting next() {
    Waiting next = waiting.poll();
    delivering = next != null;
    return next;
  }
}
