// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

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

  /**
   * For machines whose devices are virtio over MMIO, announced by ACPI. In the order of loading:
   * what the agent's dial needs comes first.
   */
  static final List<GuestRequirement> VIRTIO_MMIO =
      List.of(
          forDial("VIRTIO_MMIO", "virtio_mmio", "to find the machine's devices"),
          forDial("VSOCKETS", "vsock", "to talk to the host"),
          forDial("VIRTIO_VSOCKETS", "vmw_vsock_virtio_transport", "to talk to the host"),
          module("VIRTIO_BLK", "virtio_blk", "for the image's disk"),
          module("EXT4_FS", "ext4", "for the image's filesystem"),
          module("OVERLAY_FS", "overlay", "for the writable layer"),
          // The agent gets entropy from the host as well, so a kernel can do without.
          new GuestRequirement("HW_RANDOM_VIRTIO", "virtio_rng", false, false, "for entropy"),
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

  /** What such a machine and a workload need, in the order of loading. */
  static List<GuestRequirement> of(KernelDemands demands) {
    List<GuestRequirement> all = new ArrayList<>(VIRTIO_MMIO);
    if (demands.processLimit()) {
      all.add(builtIn("CGROUP_PIDS", "to limit its processes, which is asked for"));
    }
    demands.sysctls().stream().sorted().flatMap(SysctlOption::requirements).forEach(all::add);
    return all;
  }

  private static GuestRequirement forDial(String option, String module, String purpose) {
    return new GuestRequirement(option, module, true, true, purpose);
  }

  private static GuestRequirement module(String option, String module, String purpose) {
    return new GuestRequirement(option, module, true, false, purpose);
  }

  private static GuestRequirement builtIn(String option, String purpose) {
    return new GuestRequirement(option, "", true, false, purpose);
  }
}
