// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

/** A capability of a process, by its name without "CAP_": capabilities(7). */
public enum Capability {
  // In the order of linux/capability.h, which numbers them.

  /** Change owners of files. */
  CHOWN,
  /** Pass by the permissions of files. */
  DAC_OVERRIDE,
  /** Read files and directories whatever their permissions. */
  DAC_READ_SEARCH,
  /** Do what the owner of a file may. */
  FOWNER,
  /** Keep set-user-ID bits when a file changes. */
  FSETID,
  /** Signal processes of others. */
  KILL,
  /** Become another group. */
  SETGID,
  /** Become another user. */
  SETUID,
  /** Change capabilities. */
  SETPCAP,
  /** Set the immutable and append-only attributes. */
  LINUX_IMMUTABLE,
  /** Listen on ports below 1024. */
  NET_BIND_SERVICE,
  /** Unused. */
  NET_BROADCAST,
  /** Administer networks. */
  NET_ADMIN,
  /** Use raw and packet sockets. */
  NET_RAW,
  /** Lock memory. */
  IPC_LOCK,
  /** Pass by the permissions of System V IPC. */
  IPC_OWNER,
  /** Load and unload kernel modules. */
  SYS_MODULE,
  /** Access I/O ports and devices directly. */
  SYS_RAWIO,
  /** Change the root directory, and mount namespaces. */
  SYS_CHROOT,
  /** Trace processes of others. */
  SYS_PTRACE,
  /** Switch process accounting. */
  SYS_PACCT,
  /** Mount, make namespaces, and much else. */
  SYS_ADMIN,
  /** Reboot. */
  SYS_BOOT,
  /** Raise priorities. */
  SYS_NICE,
  /** Pass by limits. */
  SYS_RESOURCE,
  /** Set the clock. */
  SYS_TIME,
  /** Hang up terminals. */
  SYS_TTY_CONFIG,
  /** Make device files. */
  MKNOD,
  /** Take leases on files. */
  LEASE,
  /** Write to the audit log. */
  AUDIT_WRITE,
  /** Configure auditing. */
  AUDIT_CONTROL,
  /** Give files capabilities. */
  SETFCAP,
  /** Pass by mandatory access control. */
  MAC_OVERRIDE,
  /** Configure mandatory access control. */
  MAC_ADMIN,
  /** Read the kernel's log. */
  SYSLOG,
  /** Wake the system. */
  WAKE_ALARM,
  /** Keep the system from sleeping. */
  BLOCK_SUSPEND,
  /** Read the audit log. */
  AUDIT_READ,
  /** Monitor performance. */
  PERFMON,
  /** Load eBPF programs. */
  BPF,
  /** Checkpoint and restore processes. */
  CHECKPOINT_RESTORE;

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
    return ordinal();
  }
}
