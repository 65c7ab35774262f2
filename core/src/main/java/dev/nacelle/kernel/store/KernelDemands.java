// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What a workload asks of its kernel beyond what every utility virtual machine needs.
 *
 * @param modules names of modules, '-' written as '_', in the order of loading; what is built in is
 *     as good
 * @param sysctls names of the sysctls that will be set, with dots
 * @param processLimit whether the number of its processes is limited to what it says
 * @param network whether it has a network
 * @param cpus number of processors that it has to run on, at least 1
 * @param options that are built in or not there, without CONFIG_, and what each is for, to end the
 *     sentence "needed ..."
 */
public record KernelDemands(
    List<String> modules,
    Set<String> sysctls,
    boolean processLimit,
    boolean network,
    int cpus,
    Map<String, String> options) {
  /** Nothing: one processor. */
  public static final KernelDemands NONE =
      new KernelDemands(List.of(), Set.of(), false, false, 1, Map.of());

  /** Copies the collections. */
  public KernelDemands {
    modules = List.copyOf(modules);
    sysctls = Set.copyOf(sysctls);
    options = Map.copyOf(options);
  }
}
