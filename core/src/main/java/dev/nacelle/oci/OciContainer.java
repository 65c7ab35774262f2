// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import dev.nacelle.GuestProcess;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.Signal;
import dev.nacelle.SignalScope;
import dev.nacelle.oci.OciState.Status;
import java.util.Locale;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** A container in its life. */
final class OciContainer {
  private final String id;
  private final OciBundle bundle;
  private @Nullable Sandbox sandbox;
  private @Nullable GuestProcess process;
  private boolean starting;

  OciContainer(String id, OciBundle bundle) {
    this.id = id;
    this.bundle = bundle;
  }

  synchronized void created(Sandbox made) {
    sandbox = made;
  }

  synchronized OciState state() {
    return new OciState(id, status(), bundle);
  }

  private Status status() {
    if (sandbox == null) {
      return Status.CREATING;
    }
    if (!sandbox.isAlive()) {
      return Status.STOPPED;
    }
    if (process == null) {
      return Status.CREATED;
    }
    return process.isAlive() ? Status.RUNNING : Status.STOPPED;
  }

  GuestProcess start() {
    Sandbox own;
    ProcessSpec command;
    synchronized (this) {
      require(status() == Status.CREATED && !starting, "start");
      command =
          bundle
              .process()
              .orElseThrow(
                  () -> new IllegalStateException("the container " + id + " has no process"));
      own = Objects.requireNonNull(sandbox);
      starting = true;
    }
    try {
      bundle.hooks().forEach(hook -> OciRuntime.run(hook, own, state()));
      GuestProcess started = own.start(command);
      synchronized (this) {
        process = started;
      }
      return started;
    } finally {
      synchronized (this) {
        starting = false;
      }
    }
  }

  void kill(Signal signal) {
    Sandbox own;
    GuestProcess running;
    synchronized (this) {
      Status status = status();
      require(status == Status.CREATED || status == Status.RUNNING, "kill");
      own = Objects.requireNonNull(sandbox);
      running = process;
    }
    if (running != null) {
      running.signal(signal, SignalScope.PROCESS);
    } else {
      own.kill();
    }
  }

  void delete() {
    synchronized (this) {
      require(status() == Status.STOPPED, "delete");
    }
    close();
  }

  void close() {
    Sandbox own;
    synchronized (this) {
      own = sandbox;
    }
    if (own != null) {
      own.close();
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
