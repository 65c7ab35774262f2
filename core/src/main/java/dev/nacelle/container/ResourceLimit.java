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

  /** What can be limited. */
  public enum Resource {
    /** CPU time, in seconds. */
    CPU(0),
    /** Size of a file that it writes, in bytes. */
    FSIZE(1),
    /** Size of its data segment, in bytes. */
    DATA(2),
    /** Size of its stack, in bytes. */
    STACK(3),
    /** Size of a core dump, in bytes. */
    CORE(4),
    /** Resident memory, in bytes; no kernel since 2.4.30 enforces it. */
    RSS(5),
    /** Processes of its user. */
    NPROC(6),
    /** Open files, and one. */
    NOFILE(7),
    /** Locked memory, in bytes. */
    MEMLOCK(8),
    /** Address space, in bytes. */
    AS(9),
    /** Locks of files. */
    LOCKS(10),
    /** Signals that are queued. */
    SIGPENDING(11),
    /** POSIX message queues, in bytes. */
    MSGQUEUE(12),
    /** Nice value, as 20 less it. */
    NICE(13),
    /** Real-time priority. */
    RTPRIO(14),
    /** CPU time of a real-time process without a blocking call, in microseconds. */
    RTTIME(15);

    private final int number;

    Resource(int number) {
      this.number = number;
    }

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
      return number;
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
