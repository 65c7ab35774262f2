// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import dev.nacelle.GuestProcess;
import dev.nacelle.HeldProcess;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.Signal;
import dev.nacelle.oci.OciState.Status;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/** A container in its life. */
final class OciContainer {
  /** How long the end of a process may take that was killed before it ran. */
  private static final Duration DEATH = Duration.ofSeconds(10);

  /** A container has a process from its creation on, also where it has none to run. */
  private static final ProcessSpec NOTHING = ProcessSpec.entrypoint(List.of("/")).build();

  private final String id;
  private final OciBundle bundle;
  private @Nullable Sandbox sandbox;
  private @Nullable HeldProcess process;
  private boolean created;
  private boolean starting;
  private boolean released;

  OciContainer(String id, OciBundle bundle) {
    this.id = id;
    this.bundle = bundle;
  }

  /** Makes its process in its machine, and runs the hooks that are to see both. */
  void create(Sandbox made) {
    synchronized (this) {
      sandbox = made;
    }
    HeldProcess held = made.hold(bundle.process().orElse(NOTHING));
    synchronized (this) {
      process = held;
    }
    runHooks(Hook.Kind.PRESTART);
    runHooks(Hook.Kind.CREATE_RUNTIME);
    runHooks(Hook.Kind.CREATE_CONTAINER);
    synchronized (this) {
      created = true;
    }
  }

  private void runHooks(Hook.Kind kind) {
    Sandbox own = Objects.requireNonNull(sandbox());
    bundle.hooks(kind).forEach(hook -> HookRuns.run(kind, hook, own, state()));
  }

  private synchronized @Nullable Sandbox sandbox() {
    return sandbox;
  }

  synchronized OciState state() {
    Status status = status();
    OptionalLong pid =
        process == null || status == Status.STOPPED
            ? OptionalLong.empty()
            : OptionalLong.of(process.pid());
    return new OciState(id, status, pid, bundle);
  }

  private Status status() {
    if (sandbox == null || process == null) {
      return Status.CREATING;
    }
    if (!sandbox.isAlive() || !process.isAlive()) {
      return Status.STOPPED;
    }
    if (!created) {
      return Status.CREATING;
    }
    return released ? Status.RUNNING : Status.CREATED;
  }

  GuestProcess start() {
    HeldProcess held;
    synchronized (this) {
      require(status() == Status.CREATED && !starting, "start");
      if (bundle.process().isEmpty()) {
        throw new IllegalStateException("the container " + id + " has no process");
      }
      held = Objects.requireNonNull(process);
      starting = true;
    }
    try {
      runHooks(Hook.Kind.START_CONTAINER);
      GuestProcess running = held.release();
      synchronized (this) {
        released = true;
      }
      runHooks(Hook.Kind.POSTSTART);
      return running;
    } finally {
      synchronized (this) {
        starting = false;
      }
    }
  }

  void kill(Signal signal) {
    HeldProcess own;
    boolean ran;
    synchronized (this) {
      Status status = status();
      require(status == Status.CREATED || status == Status.RUNNING, "kill");
      own = Objects.requireNonNull(process);
      ran = released;
    }
    own.signal(signal);
    // Nobody else has it, to wait for its end.
    if (!ran && signal.equals(Signal.KILL)) {
      awaitEnd(own);
    }
  }

  private static void awaitEnd(HeldProcess process) {
    try {
      process.onExit().get(DEATH.toNanos(), TimeUnit.NANOSECONDS);
    } catch (ExecutionException | TimeoutException e) {
      // It has ended with its machine; or its state goes on telling.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  void requireStopped() {
    synchronized (this) {
      require(status() == Status.STOPPED, "delete");
    }
  }

  /** Takes away all that was made for it. */
  void destroy() {
    Sandbox own = sandbox();
    if (own != null) {
      own.close();
    }
  }

  /** Runs the hooks that come last, each whatever becomes of the others. */
  void afterwards() {
    OciState last = new OciState(id, Status.STOPPED, OptionalLong.empty(), bundle);
    Sandbox own = sandbox();
    for (Hook hook : bundle.hooks(Hook.Kind.POSTSTOP)) {
      try {
        HookRuns.run(Hook.Kind.POSTSTOP, hook, Objects.requireNonNull(own), last);
      } catch (HookRuns.HookFailedException e) {
        System.getLogger(OciContainer.class.getName())
            .log(System.Logger.Level.WARNING, "container " + id + ": " + e.getMessage());
      }
    }
  }

  private void require(boolean holds, String operation) {
    if (!holds) {
      throw new IllegalStateException(
          "the container "
              + id
              + " is "
              + status().name().toLowerCase(Locale.ROOT)
              + ", which is not a state to "
              + operation
              + " it in");
    }
  }
}
