// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import java.util.List;

/**
 * What a workload asks of its kernel beyond what every utility virtual machine needs.
 *
 * @param modules names of modules, '-' written as '_', in the order of loading; what is built in is
 *     as good
 */
public record KernelDemands(List<String> modules) {
  /** Nothing. */
  public static final KernelDemands NONE = new KernelDemands(List.of());

  /** Copies the list. */
  public KernelDemands {
    modules = List.copyOf(modules);
  }
}
