// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import dev.nacelle.container.SeccompRule.Comparison;
import dev.nacelle.container.SeccompRule.Condition;
import dev.nacelle.internal.check.SystemCalls;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * What Docker's default profile comes to on x86: the system calls that it keeps from a container,
 * those that go with a capability, and those that depend on their arguments. All others that Linux
 * has are allowed.
 */
final class DockerSeccomp {
  private static final SeccompAction REFUSED = SeccompAction.errno(1); // EPERM
  private static final SeccompAction UNKNOWN = SeccompAction.errno(38); // ENOSYS

  /** What is the machine's, not a process's; keys of the kernel; and io_uring. */
  private static final List<String> NEVER =
      words(
          "add_key keyctl request_key io_uring_enter io_uring_register io_uring_setup kexec_file_load"
              + " kexec_load migrate_pages move_pages nfsservctl pivot_root swapoff swapon"
              + " userfaultfd vm86 vm86old file_getattr file_setattr open_tree_attr");

  /** What no program of today calls, and kernels have mostly forgotten. */
  private static final List<String> HISTORIC =
      words(
          "_sysctl afs_syscall bdflush break create_module ftime get_kernel_syms getpmsg gtty idle"
              + " lock mpx nice oldfstat oldlstat oldolduname oldstat olduname prof profil putpmsg"
              + " query_module readdir security sgetmask sigaction signal sigpending sigsuspend"
              + " ssetmask stty sysfs tuxcall ulimit uselib ustat vserver");

  private static final Map<Capability, List<String>> WITH_CAPABILITY = withCapability();

  private static final int CLONE_NEW = 0x7e02_0000; // each CLONE_NEW* but for CLONE_NEWTIME
  private static final int AF_ALG = 38;

  private DockerSeccomp() {}

  private static Map<Capability, List<String>> withCapability() {
    Map<Capability, List<String>> names = new TreeMap<>();
    names.put(Capability.DAC_READ_SEARCH, words("open_by_handle_at"));
    names.put(
        Capability.SYS_ADMIN,
        words(
            "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie"
                + " lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr"
                + " move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname"
                + " sethostname setns syslog umount umount2 unshare"));
    names.put(Capability.SYS_BOOT, words("reboot"));
    names.put(Capability.SYS_CHROOT, words("chroot"));
    names.put(Capability.SYS_MODULE, words("delete_module finit_module init_module"));
    names.put(Capability.SYS_PACCT, words("acct"));
    names.put(Capability.SYS_PTRACE, words("kcmp pidfd_getfd process_madvise"));
    names.put(Capability.SYS_RAWIO, words("ioperm iopl"));
    names.put(Capability.SYS_TIME, words("clock_settime clock_settime64 settimeofday stime"));
    names.put(Capability.SYS_TTY_CONFIG, words("vhangup"));
    names.put(
        Capability.SYS_NICE, words("get_mempolicy mbind set_mempolicy set_mempolicy_home_node"));
    names.put(Capability.SYSLOG, words("syslog"));
    names.put(Capability.BPF, words("bpf"));
    names.put(Capability.PERFMON, words("perf_event_open"));
    return names;
  }

  static SeccompProfile profile() {
    List<SeccompRule> rules = new ArrayList<>();
    WITH_CAPABILITY.forEach(
        (capability, names) ->
            rules.add(SeccompRule.of(SeccompAction.ALLOW, names).only(capability)));
    Condition noNamespace = new Condition(0, Comparison.MASKED_EQ, CLONE_NEW, 0);
    rules.add(
        SeccompRule.of(SeccompAction.ALLOW, words("clone"))
            .withConditions(List.of(noNamespace))
            .unless(Capability.SYS_ADMIN));
    // Its flags are in memory, where no filter sees them: a C library takes clone instead.
    rules.add(SeccompRule.of(UNKNOWN, words("clone3")).unless(Capability.SYS_ADMIN));
    // 40, AF_VSOCK, is among those that Docker refuses.
    Condition noKernelCrypto = new Condition(0, Comparison.NE, AF_ALG, 0);
    rules.add(
        SeccompRule.of(SeccompAction.ALLOW, words("socket"))
            .withConditions(List.of(noKernelCrypto)));
    // PER_LINUX and PER_LINUX32, each with and without UNAME26; and to ask for the present one.
    for (long persona : new long[] {0x0, 0x8, 0x20000, 0x20008, 0xffff_ffffL}) {
      Condition same = new Condition(0, Comparison.EQ, persona, 0);
      rules.add(
          SeccompRule.of(SeccompAction.ALLOW, words("personality")).withConditions(List.of(same)));
    }
    rules.add(SeccompRule.of(SeccompAction.ALLOW, List.copyOf(always())));
    return SeccompProfile.of(
        REFUSED, EnumSet.allOf(SeccompProfile.Architecture.class), Set.of(), rules);
  }

  private static Set<String> always() {
    Set<String> names = new TreeSet<>(SystemCalls.names());
    NEVER.forEach(names::remove);
    HISTORIC.forEach(names::remove);
    WITH_CAPABILITY.values().forEach(names::removeAll);
    words("clone clone3 socket personality").forEach(names::remove);
    return names;
  }

  private static List<String> words(String words) {
    return List.of(words.split(" ", -1));
  }
}
