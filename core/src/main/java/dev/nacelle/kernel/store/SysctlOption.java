// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.util.List;
import java.util.stream.Stream;

/**
 * Which options a kernel has certain sysctls by. Nothing that a build leaves behind lists its
 * sysctls, so what is not known here shows when the guest's agent sets it.
 *
 * @param prefix of their names
 * @param option without CONFIG_
 * @param module the module it can be, in canonical form; or empty
 */
record SysctlOption(String prefix, String option, String module) {

  private static final List<SysctlOption> KNOWN =
      List.of(
          new SysctlOption("", "PROC_SYSCTL", ""),
          new SysctlOption("fs.epoll.", "EPOLL", ""),
          new SysctlOption("fs.fanotify.", "FANOTIFY", ""),
          new SysctlOption("fs.inotify.", "INOTIFY_USER", ""),
          new SysctlOption("fs.mqueue.", "POSIX_MQUEUE", ""),
          new SysctlOption("kernel.ftrace_enabled", "FUNCTION_TRACER", ""),
          new SysctlOption("kernel.kexec_load_", "KEXEC_CORE", ""),
          new SysctlOption("kernel.keys.", "KEYS", ""),
          new SysctlOption("kernel.msg", "SYSVIPC", ""),
          new SysctlOption("kernel.perf_event_", "PERF_EVENTS", ""),
          new SysctlOption("kernel.seccomp.", "SECCOMP", ""),
          new SysctlOption("kernel.sem", "SYSVIPC", ""),
          new SysctlOption("kernel.shm", "SYSVIPC", ""),
          new SysctlOption("kernel.sysrq", "MAGIC_SYSRQ", ""),
          new SysctlOption("kernel.unprivileged_bpf_disabled", "BPF_SYSCALL", ""),
          new SysctlOption("kernel.yama.", "SECURITY_YAMA", ""),
          new SysctlOption("net.", "NET", ""),
          new SysctlOption("net.bridge.bridge-nf-", "BRIDGE_NETFILTER", "br_netfilter"),
          new SysctlOption("net.core.bpf_jit_", "BPF_JIT", ""),
          new SysctlOption("net.ipv4.", "INET", ""),
          new SysctlOption("net.ipv4.tcp_syncookies", "SYN_COOKIES", ""),
          new SysctlOption("net.ipv6.", "IPV6", "ipv6"),
          new SysctlOption("net.netfilter.nf_conntrack_", "NF_CONNTRACK", "nf_conntrack"),
          // Of namespaces, kernel/ucount.c has the limits of all, also of those that are left out.
          new SysctlOption("user.max_fanotify_", "FANOTIFY", ""),
          new SysctlOption("user.max_inotify_", "INOTIFY_USER", ""),
          new SysctlOption("vm.nr_hugepages", "HUGETLBFS", ""),
          new SysctlOption("vm.unprivileged_userfaultfd", "USERFAULTFD", ""));

  /** What of a kernel is needed for a sysctl. */
  static Stream<GuestRequirement> requirements(String sysctl) {
    return KNOWN.stream()
        .filter(known -> sysctl.startsWith(known.prefix()))
        .map(
            known ->
                new GuestRequirement(
                    known.option(),
                    known.module(),
                    true,
                    false,
                    "for the sysctl " + sysctl + ", which is asked for"));
  }
}
