// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.spi.VmSpec;

/**
 * The parameters that the machine needs (Documentation/admin-guide/kernel-parameters.txt), before
 * the caller's: of two settings of one parameter the kernel takes the later.
 */
final class CommandLine {
  /** The machine's own part; leaves room for {@link VmSpec.Linux#MAX_PARAMETERS}. */
  static final String MACHINE =
      String.join(
          " ",
          // The only console there is.
          "console=ttyS0",
          // Each character costs exits, so critical messages and worse only. Every kernel has an
          // error to report, that there is no PCI; a panic or oops prints all about itself anyway.
          "loglevel=3",
          // A panic ends the machine at once, by a reset, instead of leaving it to spin.
          "panic=-1",
          // By the FADT's register. Left to itself, Linux chooses EFI on a hardware-reduced
          // machine,
          // also where there is none (arch/x86/kernel/reboot.c), then calls a BIOS and hangs.
          "reboot=a",
          // There is no PCI: without a host bridge in ACPI the kernel would look for one at its
          // ports.
          "pci=off",
          // One serial port: the others that a PC could have are not looked for.
          "8250.nr_uarts=1",
          // Debian's kernels test every cipher that is built in before they start init, which is
          // half of the boot; CRYPTO_MANAGER_DISABLE_TESTS is the kernel's own default.
          "cryptomgr.notests");

  private CommandLine() {}

  static String of(String parameters) {
    String trimmed = parameters.trim();
    return trimmed.isEmpty() ? MACHINE : MACHINE + " " + trimmed;
  }
}
