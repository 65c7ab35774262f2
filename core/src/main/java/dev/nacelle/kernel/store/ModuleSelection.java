// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Finds the modules that a kernel needs for what is asked of it, with their dependencies, in the
 * order of loading; and refuses, by the name of the missing option, a kernel that cannot do it.
 *
 * <p>Dependencies are read from the modules themselves, where modpost wrote them. A modules.dep,
 * which depmod writes from the same modules after installation, says no more, Debian's packages
 * come without it, and one that came with a kernel could be older than its modules.
 *
 * <p>Modules go by their names alone. Aliases ("fs-xfs") are in the modules, too, but finding one
 * means unpacking all of them, more than a thousand in a distribution's kernel.
 */
final class ModuleSelection {
  /** No chain of dependencies is that long: Linux's longest have about 10. */
  private static final int MAX_DEPTH = 64;

  /** The modules together, in bytes; they go through the guest's memory twice. */
  private static final long MAX_BYTES = 256 << 20;

  private final ResolvedKernel kernel;
  private final @Nullable KernelArchive archive;
  private final boolean knowsModules;
  private final Map<String, String> files;
  private final Set<String> builtIn;
  private final Map<String, GuestModule> order = new LinkedHashMap<>();
  private final Deque<String> path = new ArrayDeque<>();
  private final KernelDemands demands;
  private boolean forDial;
  private long bytes;

  private ModuleSelection(
      ResolvedKernel kernel, @Nullable KernelArchive archive, KernelDemands demands)
      throws IOException {
    this.kernel = kernel;
    this.demands = demands;
    this.archive = archive;
    String version = kernel.version();
    knowsModules = archive != null && archive.moduleVersions().contains(version);
    files = archive == null ? Map.of() : archive.modules(version);
    builtIn = archive == null ? Set.of() : archive.builtIn(version);
  }

  /**
   * The modules in the order of loading, those for the agent's dial first.
   *
   * @throws KernelException when a requirement or a demand is not met, or a module cannot be used
   */
  static List<GuestModule> select(
      ResolvedKernel kernel, List<GuestRequirement> requirements, KernelDemands demands)
      throws IOException {
    if (kernel.archive() == null) {
      return new ModuleSelection(kernel, null, demands).satisfy(requirements);
    }
    try (KernelArchive archive = new KernelArchive(kernel.ref().toString(), kernel.archive())) {
      return new ModuleSelection(kernel, archive, demands).satisfy(requirements);
    }
  }

  private List<GuestModule> satisfy(List<GuestRequirement> requirements) throws IOException {
    for (GuestRequirement requirement : requirements) {
      forDial = requirement.forDial();
      if (files.containsKey(requirement.module())) {
        load(requirement.module());
      } else if (requirement.required() && !isBuiltIn(requirement)) {
        throw missing(requirement);
      }
    }
    forDial = false;
    for (String module : demands.modules()) {
      if (files.containsKey(module)) {
        load(module);
      } else if (!builtIn.contains(module)) {
        requireBuiltIn(module);
      }
    }
    if (!order.isEmpty() && kernel.config().filter(c -> !c.isBuiltIn("MODULES")).isPresent()) {
      throw new KernelException(
          KernelException.Reason.LACKS_OPTION,
          kernel + " cannot load its modules: CONFIG_MODULES is not set in it",
          null,
          null);
    }
    return List.copyOf(order.values());
  }

  private boolean isBuiltIn(GuestRequirement requirement) {
    if (builtIn.contains(requirement.module())) {
      return true;
    }
    Optional<KernelConfig> config = kernel.config();
    if (config.isPresent()) {
      return config.get().isBuiltIn(requirement.option());
    }
    // A bare kernel that does not say what is in it: it was made for this, or its boot will tell.
    return requirement.module().isEmpty() || !knowsModules;
  }

  private KernelException missing(GuestRequirement requirement) {
    String option = "CONFIG_" + requirement.option();
    boolean isModule =
        kernel.config().filter(config -> config.isModule(requirement.option())).isPresent();
    return new KernelException(
        KernelException.Reason.LACKS_OPTION,
        kernel
            + " cannot be used: it lacks "
            + option
            + ", needed "
            + requirement.purpose()
            + (isModule ? "; it is built as a module, which did not come with it" : ""),
        isModule
            ? "Name the kernel's package (deb:PATH or debian:SERIES), or build with "
                + option
                + "=y."
            : "Use a kernel built with " + option + ".",
        null);
  }

  /** Accepts a module that only the configuration tells to be built in, and refuses others. */
  private void requireBuiltIn(String module) {
    KernelConfig config = kernel.config().orElseGet(() -> new KernelConfig(""));
    String option = ModuleOption.of(module, config).orElse("");
    boolean set = config.isBuiltIn(option);
    if (set && !knowsModules) {
      return;
    }
    String lacks = kernel + " cannot be used: it has no module " + module + ", which is asked for";
    if (config.isModule(option)) {
      throw new KernelException(
          KernelException.Reason.LACKS_OPTION,
          lacks + "; it was built (CONFIG_" + option + "=m), but did not come with it",
          "Use the package that holds all of the kernel's modules.",
          null);
    }
    if (!option.isEmpty() && !set) {
      throw new KernelException(
          KernelException.Reason.LACKS_OPTION,
          lacks + ": CONFIG_" + option + " is not set in it",
          "Use a kernel built with CONFIG_" + option + ".",
          null);
    }
    String options = "CONFIG_" + String.join(" or CONFIG_", ModuleOption.candidates(module));
    if (knowsModules) {
      throw new KernelException(
          KernelException.Reason.LACKS_OPTION,
          lacks + ", neither built in nor among its " + files.size() + " modules",
          "Name modules as lsmod does, not by an alias; or use a kernel built with it (by its name, "
              + options
              + ").",
          null);
    }
    throw new KernelException(
        KernelException.Reason.LACKS_OPTION,
        kernel
            + " cannot be used: it came without modules, and "
            + (kernel.config().isPresent()
                ? "its configuration does not know " + options
                : "without a configuration")
            + ", so whether "
            + module
            + " is built in, which is asked for, cannot be told",
        "Name the kernel's package (deb:PATH or debian:SERIES); do not ask for what you know to be"
            + " built in.",
        null);
  }

  /** Adds a module after what it depends on: the order in which modprobe would load them. */
  private void load(String module) throws IOException {
    if (order.containsKey(module) || builtIn.contains(module)) {
      return;
    }
    if (path.size() == MAX_DEPTH) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          "The modules of "
              + kernel
              + " depend on each other more than "
              + MAX_DEPTH
              + " deep: "
              + String.join(" -> ", path),
          "Use another build of this kernel.",
          null);
    }
    if (path.contains(module)) {
      path.addLast(module);
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          "The modules of " + kernel + " depend on each other: " + String.join(" -> ", path),
          "Use another build of this kernel.",
          null);
    }
    String file = files.get(module);
    if (file == null || archive == null) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          "The modules of "
              + kernel
              + " are incomplete: "
              + path.getLast()
              + " depends on "
              + module
              + ", which is neither among them nor built in",
          "Use the package that holds all of the kernel's modules.",
          null);
    }
    byte[] content = archive.module(file);
    bytes += content.length;
    if (bytes > MAX_BYTES) {
      throw new KernelException(
          KernelException.Reason.TOO_LARGE,
          "The modules that are needed of "
              + kernel
              + " take more than "
              + (MAX_BYTES >> 20)
              + " MiB, with "
              + module,
          null,
          null);
    }
    ModuleInfo info = ModuleInfo.read(kernel.ref() + ": " + file, content);
    info.requireVersion(kernel.version());
    path.addLast(module);
    for (String dependency : info.softDependencies()) {
      loadIfPresent(dependency);
    }
    for (String dependency : info.dependencies()) {
      load(dependency);
    }
    path.removeLast();
    order.put(
        module, new GuestModule(module, content, forDial, demands.modules().contains(module)));
  }

  /**
   * Loads what should be there before, if it can be: a module, or an algorithm of the kernel's
   * crypto API, asked for as "crypto-NAME" (MODULE_ALIAS_CRYPTO). Of its providers the portable one
   * is called "NAME_generic"; the others load on certain processors only. One that cannot be loaded
   * itself, or for what it depends on, is passed over, as modprobe does.
   */
  private void loadIfPresent(String wanted) throws IOException {
    String algorithm = wanted.startsWith("crypto_") ? wanted.substring("crypto_".length()) : wanted;
    for (String candidate : List.of(wanted, algorithm + "_generic")) {
      if (builtIn.contains(candidate)) {
        return;
      }
      if (files.containsKey(candidate) && tryToLoad(candidate)) {
        return;
      }
    }
  }

  /** Loads a module with all it depends on, or nothing. */
  private boolean tryToLoad(String module) throws IOException {
    int loaded = order.size();
    int depth = path.size();
    try {
      load(module);
      return true;
    } catch (KernelException e) {
      // Its bytes count all the same: they bound what is read, however the modules are entangled.
      order.keySet().removeAll(order.keySet().stream().skip(loaded).toList());
      while (path.size() > depth) {
        path.removeLast();
      }
      return false;
    }
  }
}
