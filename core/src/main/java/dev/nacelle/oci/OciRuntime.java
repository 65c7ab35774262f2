// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import dev.nacelle.ExecResult;
import dev.nacelle.GuestProcess;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.oci.ConfigReader.Hook;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;

/**
 * The operations of the OCI runtime specification (runtime.md) on containers, each in a sandbox of
 * its own. Of the hooks there are those that run in the container, {@code startContainer}. Safe for
 * use from several threads. It holds nothing that is to be closed: containers end with their {@link
 * Nacelle} at the latest.
 */
public final class OciRuntime {
  private final Nacelle nacelle;
  private final Map<String, OciContainer> containers = new ConcurrentHashMap<>();

  /** Runs containers in sandboxes of that. */
  public OciRuntime(Nacelle nacelle) {
    this.nacelle = nacelle;
  }

  /** As {@link #create(String, OciBundle, UnaryOperator)}, with the default kernel and memory. */
  public OciState create(String id, Path bundle) throws IOException {
    return create(id, OciBundle.read(bundle), spec -> spec);
  }

  /**
   * Creates a container, which is everything but running its process. Whatever becomes of the
   * bundle afterwards does not matter to it.
   *
   * @param id 1 to 64 characters of {@code [A-Za-z0-9._-]}, which no other container has
   * @param adapt gives the sandbox what the specification does not have: a kernel, memory
   * @throws IllegalArgumentException when the id is none, or another container has it
   * @throws dev.nacelle.NacelleException when the sandbox cannot be started; then there is no
   *     container
   */
  public OciState create(String id, OciBundle bundle, UnaryOperator<SandboxSpec.Builder> adapt) {
    SandboxSpec spec = adapt.apply(bundle.sandbox().name(id)).build();
    OciContainer container = new OciContainer(id, bundle);
    if (containers.putIfAbsent(id, container) != null) {
      throw new IllegalArgumentException("another container has the id " + id);
    }
    try {
      container.created(nacelle.start(spec));
    } catch (Throwable e) {
      containers.remove(id);
      throw e;
    }
    return container.state();
  }

  /**
   * Runs the hooks that are to come before it, and then the container's process.
   *
   * @throws IllegalArgumentException when there is no such container
   * @throws IllegalStateException when it was started before, or its bundle has no process
   * @throws ProcessException when the process cannot be started; or when a hook fails, and then the
   *     container is stopped and deleted
   */
  public GuestProcess start(String id) {
    OciContainer container = find(id);
    try {
      return container.start();
    } catch (HookFailedException e) {
      container.close();
      containers.remove(id, container);
      throw e;
    }
  }

  /**
   * How a container is.
   *
   * @throws IllegalArgumentException when there is none
   */
  public OciState state(String id) {
    return find(id).state();
  }

  /**
   * Sends a signal to the container's process. One that is yet to be started cannot get any but
   * KILL, TERM and their like: its machine ends.
   *
   * @throws IllegalArgumentException when there is no such container
   * @throws IllegalStateException when it has stopped
   */
  public void kill(String id, Signal signal) {
    find(id).kill(signal);
  }

  /**
   * Deletes a container that has stopped, with all that was made for it.
   *
   * @throws IllegalArgumentException when there is none
   * @throws IllegalStateException when it has not stopped
   */
  public void delete(String id) {
    OciContainer container = find(id);
    container.delete();
    containers.remove(id, container);
  }

  private OciContainer find(String id) {
    OciContainer container = containers.get(id);
    if (container == null) {
      throw new IllegalArgumentException("there is no container " + id);
    }
    return container;
  }

  /** A hook of a container failed. */
  static final class HookFailedException extends ProcessException {
    private static final long serialVersionUID = 1L;

    HookFailedException(String message, Throwable cause) {
      super(Reason.NOT_STARTED, message, "See what the hook says, or leave it out.", cause);
    }
  }

  /** Runs one hook to its end; the state comes on its stdin. */
  static void run(Hook hook, Sandbox sandbox, OciState state) {
    ProcessSpec.Builder process =
        ProcessSpec.builder(hook.arguments())
            .executable(hook.path())
            .user("0:0")
            .workingDirectory("/")
            .environment(hook.environment())
            .security(ProcessSecurity.PRIVILEGED)
            .stdin(state.toJson());
    hook.timeout().ifPresent(process::timeout);
    try {
      ExecResult result = sandbox.exec(process.build());
      if (result.exitCode() != 0) {
        result.orThrow();
      }
    } catch (ProcessException e) {
      throw new HookFailedException(
          "The hook startContainer " + hook.path() + " failed: " + e.getMessage(), e);
    }
  }
}
