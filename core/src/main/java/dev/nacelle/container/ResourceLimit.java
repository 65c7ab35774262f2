// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

/**
 * A limit of one resource of a process: setrlimit(2).
 *
 * @param soft what the kernel enforces; {@link #UNLIMITED} for no limit
 * @param hard up to which the process can raise it; {@link #UNLIMITED} for no limit
 */
public record ResourceLimit(long soft, long hard) {
  /** RLIM_INFINITY. */
  public static final long UNLIMITED = -1;

  /** What can be limited, in the order of asm-generic/resource.h, which numbers them. */
  public enum Resource {
    /** CPU time, in seconds. */
    CPU,
    /** Size of a file that it writes, in bytes. */
    FSIZE,
    /** Size of its data segment, in bytes. */
    DATA,
    /** Size of its stack, in bytes. */
    STACK,
    /** Size of a core dump, in bytes. */
    CORE,
    /** Resident memory, in bytes; no kernel since 2.4.30 enforces it. */
    RSS,
    /** Processes of its user. */
    NPROC,
    /** Open files, and one. */
    NOFILE,
    /** Locked memory, in bytes. */
    MEMLOCK,
    /** Address space, in bytes. */
    AS,
    /** Locks of files. */
    LOCKS,
    /** Signals that are queued. */
    SIGPENDING,
    /** POSIX message queues, in bytes. */
    MSGQUEUE,
    /** Nice value, as 20 less it. */
    NICE,
    /** Real-time priority. */
    RTPRIO,
    /** CPU time of a real-time process without a blocking call, in microseconds. */
    RTTIME;

    /**
     * The resource of that name, with or without "RLIMIT_".
     *
     * @throws IllegalArgumentException when there is none
     */
    public static Resource parse(String name) {
      String bare = name.startsWith("RLIMIT_") ? name.substring("RLIMIT_".length()) : name;
      for (Resource resource : values()) {
        if (resource.name().equals(bare)) {
          return resource;
        }
      }
      throw new IllegalArgumentException("there is no resource limit " + name);
    }

    /** Its number in asm-generic/resource.h. */
    public int number() {
      return ordinal();
    }
  }

  /**
   * @throws IllegalArgumentException when the soft limit is beyond the hard one
   */
  public ResourceLimit {
    if (Long.compareUnsigned(soft, hard) > 0) {
      throw new IllegalArgumentException(
          "the soft limit " + text(soft) + " is beyond the hard one, " + text(hard));
    }
  }

  @Override
  public String toString() {
    return text(soft) + ":" + text(hard);
  }

  private static String text(long limit) {
    return limit == UNLIMITED ? "unlimited" : Long.toUnsignedString(limit);
  }
}
