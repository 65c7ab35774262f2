// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

/** The kernel's command line: the same as in Nacelle's own machines, but for what theirs lack. */
final class KernelParameters {
  private KernelParameters() {}

  /**
   * The whole line.
   *
   * @param reboot how a guest resets its machine: Linux' parameter of that name
   * @param pci whether there is PCI
   * @param others the workload's
   */
  static String of(char reboot, boolean pci, String others) {
    return ("console=ttyS0 loglevel=3 panic=-1 reboot="
            + reboot
            + (pci ? "" : " pci=off")
            + " 8250.nr_uarts=1 cryptomgr.notests "
            + others.trim())
        .trim();
  }
}
