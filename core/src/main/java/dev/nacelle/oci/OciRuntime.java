// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import dev.nacelle.GuestProcess;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessException;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;

/**
 * The operations of the OCI runtime specification (runtime.md) on containers, each in a sandbox of
 * its own. Safe for use from several threads. It holds nothing that is to be closed: containers end
 * with their {@link Nacelle} at the latest.
 *
 * <p>Hooks run in the order of the specification's lifecycle, with the state on their stdin. {@code
 * createContainer} and {@code startContainer} run in the container, as root with all capabilities,
 * and are files of it: a container's machine has no others. So the path of {@code createContainer},
 * which the specification resolves in the runtime's namespace, before pivot_root, is resolved in
 * the container's root, which is its root already. The other hooks are for the runtime's
 * namespaces, which are this host's; see {@link #withHostHooks}.
 */
public final class OciRuntime {
  private final Nacelle nacelle;
  private final boolean hostHooks;
  private final Map<String, OciContainer> containers = new ConcurrentHashMap<>();

  /** Runs containers in sandboxes of that. A bundle with hooks for this host is refused. */
  public OciRuntime(Nacelle nacelle) {
    this(nacelle, false);
  }

  private OciRuntime(Nacelle nacelle, boolean hostHooks) {
    this.nacelle = nacelle;
    this.hostHooks = hostHooks;
  }

  /**
   * As {@link #OciRuntime(Nacelle)}, and runs the hooks {@code prestart}, {@code createRuntime},
   * {@code poststart} and {@code poststop} as programs of this host: in the bundle's directory, as
   * the user that this process runs as, with its rights. So it is for bundles whose authors may do
   * that. They are called by their path, whatever the first argument is.
   */
  public static OciRuntime withHostHooks(Nacelle nacelle) {
    return new OciRuntime(nacelle, true);
  }

  /** As {@link #create(String, OciBundle, UnaryOperator)}, with the default kernel and memory. */
  public OciState create(String id, Path bundle) throws IOException {
    return create(id, OciBundle.read(bundle), spec -> spec);
  }

  /**
   * Creates a container: its machine, and in it its process, which waits before its command; then
   * the hooks run that belong to that. Whatever becomes of the bundle afterwards does not matter to
   * the container.
   *
   * @param id 1 to 64 characters of {@code [A-Za-z0-9._-]}, which no other container has
   * @param adapt gives the sandbox what the specification does not have: a kernel, memory
   * @throws IllegalArgumentException when the id is none, or another container has it; or when the
   *     bundle has hooks that this runtime does not run
   * @throws dev.nacelle.NacelleException when the sandbox cannot be started, the process cannot be
   *     made, or a hook fails; then there is no container
   */
  public OciState create(String id, OciBundle bundle, UnaryOperator<SandboxSpec.Builder> adapt) {
    refuseHooks(bundle);
    SandboxSpec spec = adapt.apply(bundle.sandbox().name(id)).build();
    OciContainer container = new OciContainer(id, bundle);
    if (containers.putIfAbsent(id, container) != null) {
      throw new IllegalArgumentException("another container has the id " + id);
    }
    try {
      container.create(nacelle.start(spec));
    } catch (HookRuns.HookFailedException e) {
      destroy(id, container);
      throw e;
    } catch (Throwable e) {
      container.destroy();
      containers.remove(id);
      throw e;
    }
    return container.state();
  }

  private void refuseHooks(OciBundle bundle) {
    for (Hook.Kind kind : Hook.Kind.values()) {
      if (!hostHooks && !kind.isInContainer() && !bundle.hooks(kind).isEmpty()) {
        throw new IllegalArgumentException(
            "hooks."
                + kind.property()
                + ": it is a program of this host, and OciRuntime.withHostHooks alone runs those");
      }
    }
  }

  /** What is left to do where a hook failed, and at the end: steps 12 and 13 of "Lifecycle". */
  private void destroy(String id, OciContainer container) {
    container.destroy();
    if (containers.remove(id, container)) {
      container.afterwards();
    }
  }

  /**
   * Runs the hooks that are to come before the container's process, lets that go, and runs those
   * that are to come then.
   *
   * @throws IllegalArgumentException when there is no such container
   * @throws IllegalStateException when it is not created, or its bundle has no process
   * @throws ProcessException when the process cannot be executed, and then the container is
   *     stopped; or when a hook fails, and then it is stopped and deleted
   */
  public GuestProcess start(String id) {
    OciContainer container = find(id);
    try {
      return container.start();
    } catch (HookRuns.HookFailedException e) {
      destroy(id, container);
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
   * Sends a signal to the container's process. One that was not started ends by each signal that
   * would end a process by default; with {@link Signal#KILL} it has ended when this returns. One
   * that runs gets what a PID 1 gets: signals that it has a handler for, and KILL.
   *
   * @throws IllegalArgumentException when there is no such container
   * @throws IllegalStateException when it is neither created nor running
   */
  public void kill(String id, Signal signal) {
    find(id).kill(signal);
  }

  /**
   * Deletes a container that has stopped, with all that was made for it, and then runs the hooks
   * that are to come last; one that fails is logged.
   *
   * @throws IllegalArgumentException when there is none
   * @throws IllegalStateException when it has not stopped
   */
  public void delete(String id) {
    OciContainer container = find(id);
    container.requireStopped();
    destroy(id, container);
  }

  private OciContainer find(String id) {
    OciContainer container = containers.get(id);
    if (container == null) {
      throw new IllegalArgumentException("there is no container " + id);
    }
    return container;
  }
}
