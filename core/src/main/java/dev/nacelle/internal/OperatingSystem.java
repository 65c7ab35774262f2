// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

/** What this process runs on. */
public final class OperatingSystem {
  private OperatingSystem() {}

  /** Whether it is Windows; Linux otherwise. */
  public static boolean isWindows() {
    return System.getProperty("os.name").startsWith("Windows");
  }
}
