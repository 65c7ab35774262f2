// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

/** What Nacelle's own machines tell a kernel. */
public final class NacelleCommandLine {
  private NacelleCommandLine() {}

  /** The whole line, for the workload's part of it. */
  public static String of(String parameters) {
    return CommandLine.of(parameters);
  }
}
