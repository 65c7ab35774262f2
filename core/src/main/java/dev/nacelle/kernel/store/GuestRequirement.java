// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.spi.GuestDriver;
import java.util.ArrayList;
import java.util.List;

/**
 * A kernel option that the utility virtual machine needs.
 *
 * @param option its name without CONFIG_
 * @param module the module it becomes when it is not built in, in canonical form; empty for an
 *     option that can only be built in
 * @param required whether a kernel without it is refused; otherwise it is used where it is there
 * @param forDial whether the agent cannot dial the host without it
 * @param purpose what for, to end the sentence "needed ..."
 */
record GuestRequirement(
    String option, String module, boolean required, boolean forDial, String purpose) {

  /** What every machine's guest needs but for the drivers of its devices, in that order. */
  private static final List<GuestRequirement> EVERY =
      List.of(
          module("EXT4_FS", "ext4", "for the image's filesystem"),
          module("OVERLAY_FS", "overlay", "for the writable layer"),
          builtIn("ACPI", "to find the machine's devices"),
          builtIn("BLK_DEV_INITRD", "to start the agent"),
          builtIn("BINFMT_ELF", "to start the agent"),
          builtIn("DEVTMPFS", "for /dev"),
          builtIn("PROC_FS", "for /proc"),
          builtIn("SYSFS", "for /sys"),
          builtIn("TMPFS", "for the writable layer"),
          builtIn("CGROUPS", "to limit the workload"),
          builtIn("PID_NS", "to isolate the workload"),
          builtIn("IPC_NS", "to isolate the workload"),
          builtIn("UTS_NS", "to isolate the workload"),
          builtIn("MULTIUSER", "to run processes as the image's users"),
          builtIn("UNIX98_PTYS", "for /dev/pts"),
          // What the agent's event loop is made of: mio's epoll and eventfd, tokio's signals.
          builtIn("EPOLL", "by the guest agent"),
          builtIn("EVENTFD", "by the guest agent"),
          builtIn("FUTEX", "by the guest agent"),
          module("UNIX", "unix", "by the guest agent"));

  /**
   * What a machine with those drivers and a workload need, in the order of loading: what the
   * agent's dial needs comes first.
   */
  static List<GuestRequirement> of(List<GuestDriver> drivers, KernelDemands demands) {
    List<GuestRequirement> all = new ArrayList<>();
    all.add(new GuestRequirement("VSOCKETS", "vsock", true, true, "to talk to the host"));
    drivers.stream()
        .map(GuestRequirement::of)
        // The order of equals is kept.
        .sorted((a, b) -> Boolean.compare(b.forDial(), a.forDial()))
        .forEach(all::add);
    all.addAll(EVERY);
    if (demands.processLimit()) {
      all.add(builtIn("CGROUP_PIDS", "to limit its processes, which is asked for"));
    }
    if (demands.network()) {
      all.add(builtIn("INET", "for its network, which is asked for"));
      all.add(module("TUN", "tun", "for its network, which is asked for"));
    }
    demands.sysctls().stream().sorted().flatMap(SysctlOption::requirements).forEach(all::add);
    return all;
  }

  private static GuestRequirement of(GuestDriver driver) {
    boolean forDial =
        switch (driver.use()) {
          case BUS, CONNECTION -> true;
          case DISK, ENTROPY, MEMORY -> false;
        };
    String purpose =
        switch (driver.use()) {
          case BUS -> "to find the machine's devices";
          case CONNECTION -> "to talk to the host";
          case DISK -> "for the image's disk";
          case ENTROPY -> "for entropy";
          case MEMORY -> "to give back memory";
        };
    // The agent gets entropy from the host as well, and memory can be kept.
    boolean required =
        switch (driver.use()) {
          case BUS, CONNECTION, DISK -> true;
          case ENTROPY, MEMORY -> false;
        };
    return new GuestRequirement(driver.option(), driver.module(), required, forDial, purpose);
  }

  private static GuestRequirement module(String option, String module, String purpose) {
    return new GuestRequirement(option, module, true, false, purpose);
  }

  private static GuestRequirement builtIn(String option, String purpose) {
    return new GuestRequirement(option, "", true, false, purpose);
  }
}
