// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

/** A capability of a process, by its name without "CAP_": capabilities(7). */
public enum Capability {
  /** Change owners of files. */
  CHOWN(0),
  /** Pass by the permissions of files. */
  DAC_OVERRIDE(1),
  /** Read files and directories whatever their permissions. */
  DAC_READ_SEARCH(2),
  /** Do what the owner of a file may. */
  FOWNER(3),
  /** Keep set-user-ID bits when a file changes. */
  FSETID(4),
  /** Signal processes of others. */
  KILL(5),
  /** Become another group. */
  SETGID(6),
  /** Become another user. */
  SETUID(7),
  /** Change capabilities. */
  SETPCAP(8),
  /** Set the immutable and append-only attributes. */
  LINUX_IMMUTABLE(9),
  /** Listen on ports below 1024. */
  NET_BIND_SERVICE(10),
  /** Unused. */
  NET_BROADCAST(11),
  /** Administer networks. */
  NET_ADMIN(12),
  /** Use raw and packet sockets. */
  NET_RAW(13),
  /** Lock memory. */
  IPC_LOCK(14),
  /** Pass by the permissions of System V IPC. */
  IPC_OWNER(15),
  /** Load and unload kernel modules. */
  SYS_MODULE(16),
  /** Access I/O ports and devices directly. */
  SYS_RAWIO(17),
  /** Change the root directory, and mount namespaces. */
  SYS_CHROOT(18),
  /** Trace processes of others. */
  SYS_PTRACE(19),
  /** Switch process accounting. */
  SYS_PACCT(20),
  /** Mount, make namespaces, and much else. */
  SYS_ADMIN(21),
  /** Reboot. */
  SYS_BOOT(22),
  /** Raise priorities. */
  SYS_NICE(23),
  /** Pass by limits. */
  SYS_RESOURCE(24),
  /** Set the clock. */
  SYS_TIME(25),
  /** Hang up terminals. */
  SYS_TTY_CONFIG(26),
  /** Make device files. */
  MKNOD(27),
  /** Take leases on files. */
  LEASE(28),
  /** Write to the audit log. */
  AUDIT_WRITE(29),
  /** Configure auditing. */
  AUDIT_CONTROL(30),
  /** Give files capabilities. */
  SETFCAP(31),
  /** Pass by mandatory access control. */
  MAC_OVERRIDE(32),
  /** Configure mandatory access control. */
  MAC_ADMIN(33),
  /** Read the kernel's log. */
  SYSLOG(34),
  /** Wake the system. */
  WAKE_ALARM(35),
  /** Keep the system from sleeping. */
  BLOCK_SUSPEND(36),
  /** Read the audit log. */
  AUDIT_READ(37),
  /** Monitor performance. */
  PERFMON(38),
  /** Load eBPF programs. */
  BPF(39),
  /** Checkpoint and restore processes. */
  CHECKPOINT_RESTORE(40);

  private final int number;

  Capability(int number) {
    this.number = number;
  }

  /**
   * The capability of that name, with or without "CAP_".
   *
   * @throws IllegalArgumentException when there is none
   */
  public static Capability parse(String name) {
    String bare = name.startsWith("CAP_") ? name.substring("CAP_".length()) : name;
    for (Capability capability : values()) {
      if (capability.name().equals(bare)) {
        return capability;
      }
    }
    throw new IllegalArgumentException("there is no capability " + name);
  }

  /** Its number in linux/capability.h. */
  public int number() {
    return number;
  }
}
