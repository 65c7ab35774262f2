// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;

/** What a host may be short of, whatever is done with its files. */
public final class Shortage {
  /** What the C library says of EMFILE, and begins with of ENFILE, in English. */
  private static final String DESCRIPTORS = "Too many open files";

  private static final String OF_HOST = DESCRIPTORS + " in system";

  private Shortage() {}

  /**
   * What to do about a failure.
   *
   * @param otherwise when it is not for want of descriptors
   */
  public static String remedy(IOException failure, String otherwise) {
    String message = String.valueOf(failure.getMessage());
    if (message.contains(OF_HOST)) {
      return "Raise this host's limit of open files (sysctl fs.file-max).";
    }
    return message.contains(DESCRIPTORS)
        ? "Raise this process's limit of open files (ulimit -n)."
        : otherwise;
  }
}
