// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

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
 * <p>Debian's packages come without modules.dep, which depmod writes after installation; so the
 * dependencies are read from the modules themselves.
 */
final class ModuleSelection {
  private final ResolvedKernel kernel;
  private final @Nullable KernelArchive archive;
  private final boolean knowsModules;
  private final Map<String, String> files;
  private final Set<String> builtIn;
  private final Map<String, byte[]> order = new LinkedHashMap<>();
  private final Deque<String> path = new ArrayDeque<>();

  private ModuleSelection(ResolvedKernel kernel, @Nullable KernelArchive archive)
      throws IOException {
    this.kernel = kernel;
    this.archive = archive;
    String version = kernel.version();
    knowsModules = archive != null && archive.moduleVersions().contains(version);
    files = archive == null ? Map.of() : archive.modules(version);
    builtIn = archive == null ? Set.of() : archive.builtIn(version);
  }

  /**
   * The uncompressed modules by canonical name, in the order of loading.
   *
   * @throws KernelException when a requirement is not met, or a module cannot be used
   */
  static Map<String, byte[]> select(ResolvedKernel kernel, List<GuestRequirement> requirements)
      throws IOException {
    if (kernel.archive() == null) {
      return new ModuleSelection(kernel, null).satisfy(requirements);
    }
    try (KernelArchive archive = new KernelArchive(kernel.ref().toString(), kernel.archive())) {
      return new ModuleSelection(kernel, archive).satisfy(requirements);
    }
  }

  private Map<String, byte[]> satisfy(List<GuestRequirement> requirements) throws IOException {
    for (GuestRequirement requirement : requirements) {
      if (files.containsKey(requirement.module())) {
        load(requirement.module());
      } else if (requirement.required() && !isBuiltIn(requirement)) {
        throw missing(requirement);
      }
    }
    if (!order.isEmpty() && kernel.config().filter(c -> !c.isBuiltIn("MODULES")).isPresent()) {
      throw new KernelException(
          kernel + " cannot load its modules: CONFIG_MODULES is not set in it", null, null);
    }
    return order;
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

  /** Adds a module after what it depends on: the order in which modprobe would load them. */
  private void load(String module) throws IOException {
    if (order.containsKey(module) || builtIn.contains(module)) {
      return;
    }
    if (path.contains(module)) {
      path.addLast(module);
      throw new KernelException(
          "The modules of " + kernel + " depend on each other: " + String.join(" -> ", path),
          "Use another build of this kernel.",
          null);
    }
    String file = files.get(module);
    if (file == null || archive == null) {
      throw new KernelException(
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
    order.put(module, content);
  }

  /**
   * Loads what should be there before, if it can be: a module, or an algorithm of the kernel's
   * crypto API, asked for as "crypto-NAME" (MODULE_ALIAS_CRYPTO). Of its providers the portable one
   * is called "NAME_generic"; the others load on certain processors only.
   */
  private void loadIfPresent(String wanted) throws IOException {
    String algorithm = wanted.startsWith("crypto_") ? wanted.substring("crypto_".length()) : wanted;
    for (String candidate : List.of(wanted, algorithm + "_generic")) {
      if (builtIn.contains(candidate)) {
        return;
      }
      if (files.containsKey(candidate) && !path.contains(candidate)) {
        load(candidate);
        return;
      }
    }
  }
}
