// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.SandboxSpec;
import dev.nacelle.container.Capabilities;
import dev.nacelle.container.Capability;
import dev.nacelle.container.Mount;
import java.util.regex.Pattern;

/**
 * A sandbox's part of the kernel's command line: what its user gave, and what shortens the boot for
 * who can never tell.
 */
final class BootParameters {
  /**
   * Linux makes the files of tracefs as it boots, some for each of its events, and puts numbers in
   * place of the enums in them (tracer_init_tracefs and trace_eval_init of kernel/trace/trace.c):
   * of Debian's 6.1 a sixth of the boot. Only who has CAP_SYS_ADMIN can mount that filesystem. A
   * kernel without it ignores this.
   */
  private static final String NO_TRACEFS = "initcall_blacklist=trace_eval_init,tracer_init_tracefs";

  /** Parameters of tracing, and one of the kind above: this user knows better. */
  private static final Pattern TRACING =
      Pattern.compile("trace|kprobe|tp_printk|initcall_blacklist");

  private BootParameters() {}

  static String of(SandboxSpec spec) {
    String given = spec.kernelParameters();
    if (mayTrace(spec)
        || TRACING.matcher(given).find()
        || given.length() + 1 + NO_TRACEFS.length() > SandboxSpec.MAXIMUM_KERNEL_PARAMETERS) {
      return given;
    }
    return given.isEmpty() ? NO_TRACEFS : NO_TRACEFS + " " + given;
  }

  private static boolean mayTrace(SandboxSpec spec) {
    Capabilities capabilities = spec.security().capabilities();
    return capabilities.bounding().contains(Capability.SYS_ADMIN)
        || capabilities.permitted().contains(Capability.SYS_ADMIN)
        || spec.container().mounts().stream()
            .map(Mount::type)
            .anyMatch(type -> type.equals("tracefs") || type.equals("debugfs"));
  }
}
