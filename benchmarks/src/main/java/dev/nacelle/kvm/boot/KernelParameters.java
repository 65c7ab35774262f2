// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

/** The kernel command line of Nacelle's machines, so that a peer can be given the same. */
public final class KernelParameters {
  private KernelParameters() {}

  /** The whole command line, for the caller's part of it. */
  public static String of(String parameters) {
    return CommandLine.of(parameters);
  }
}
