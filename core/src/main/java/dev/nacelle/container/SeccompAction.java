// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

/**
 * What becomes of a system call: seccomp(2).
 *
 * @param kind what is done
 * @param value the error's number for {@link Kind#ERRNO}, what a tracer is told for {@link
 *     Kind#TRACE}; otherwise 0
 */
public record SeccompAction(Kind kind, int value) {
  /** MAX_ERRNO of linux/err.h. */
  private static final int MAX_ERRNO = 4095;

  private static final int MAX_DATA = 0xffff;

  /** It is made. */
  public static final SeccompAction ALLOW = new SeccompAction(Kind.ALLOW, 0);

  /** What is done. */
  public enum Kind {
    /** The thread ends. */
    KILL_THREAD(0),
    /** The process ends. */
    KILL_PROCESS(0x8000_0000),
    /** The thread gets SIGSYS. */
    TRAP(0x0003_0000),
    /** It is not made, and answers with an error. */
    ERRNO(0x0005_0000),
    /** A tracer decides; without one it answers ENOSYS. */
    TRACE(0x7ff0_0000),
    /** It is made, and logged. */
    LOG(0x7ffc_0000),
    /** It is made. */
    ALLOW(0x7fff_0000);

    private final int returned;

    Kind(int returned) {
      this.returned = returned;
    }
  }

  /**
   * @throws IllegalArgumentException when there is no such error, or a value for a kind without
   */
  public SeccompAction {
    int most = kind == Kind.ERRNO ? MAX_ERRNO : kind == Kind.TRACE ? MAX_DATA : 0;
    if (value < 0 || value > most) {
      throw new IllegalArgumentException("the action " + kind + " has no value " + value);
    }
  }

  /**
   * It is not made, and answers with that error.
   *
   * @param number as in errno(3); 1 is EPERM
   * @throws IllegalArgumentException when it is not between 0 and 4095
   */
  public static SeccompAction errno(int number) {
    return new SeccompAction(Kind.ERRNO, number);
  }

  /** What a filter returns for it: SECCOMP_RET_* of linux/seccomp.h, and the value. */
  public int returned() {
    return kind.returned | value;
  }
}
