// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Map;

/** What of a kernel's command line a caller may write. */
final class KernelParameters {
  private static final String AGENT = "Nacelle's agent is the machine's init";
  private static final String INITRAMFS = "the machine starts from Nacelle's initramfs";
  private static final String CONSOLE = "the machine's console is its one serial port";
  static final String RESET = "Nacelle learns of a kernel's death by the machine's reset";
  private static final String ACPI = "the machine's devices are announced by ACPI";

  /**
   * Parameters by which a machine would not start, or not be heard of, and why
   * (Documentation/admin-guide/kernel-parameters.txt).
   */
  private static final Map<String, String> RESERVED =
      Map.of(
          "init", AGENT,
          "rdinit", AGENT,
          "initrd", INITRAMFS,
          "initrdmem", INITRAMFS,
          "noinitrd", INITRAMFS,
          "console", CONSOLE,
          "panic", RESET,
          "sysctl.kernel.panic", RESET,
          "reboot", RESET,
          "acpi", ACPI);

  private KernelParameters() {}

  /**
   * The parameters, as they are.
   *
   * @throws IllegalArgumentException when the kernel would not take them, or could not start with
   *     them
   */
  static String check(String parameters) {
    if (parameters.length() > SandboxSpec.MAXIMUM_KERNEL_PARAMETERS) {
      throw new IllegalArgumentException(
          "the kernel parameters have "
              + parameters.length()
              + " characters; at most "
              + SandboxSpec.MAXIMUM_KERNEL_PARAMETERS
              + " fit, beside the machine's own, into the 2047 that the kernel takes");
    }
    for (int i = 0; i < parameters.length(); i++) {
      char character = parameters.charAt(i);
      if (character < 0x20 || character > 0x7e) {
        throw new IllegalArgumentException(
            String.format(
                "the kernel parameters hold U+%04X after '%s': only printable ASCII is taken",
                (int) character, parameters.substring(0, i)));
      }
    }
    checkEach(parameters);
    return parameters;
  }

  /** Splits as the kernel does: next_arg of lib/cmdline.c. */
  private static void checkEach(String parameters) {
    boolean quoted = false;
    int start = 0;
    for (int i = 0; i <= parameters.length(); i++) {
      if (i == parameters.length() || parameters.charAt(i) == ' ' && !quoted) {
        checkOne(parameters.substring(start, i));
        start = i + 1;
      } else if (parameters.charAt(i) == '"') {
        quoted = !quoted;
      }
    }
    if (quoted) {
      throw new IllegalArgumentException(
          "a quotation mark of the kernel parameters is not closed: " + parameters);
    }
  }

  private static void checkOne(String parameter) {
    // The mark may stand before the name as well as before the value.
    String bare = parameter.startsWith("\"") ? parameter.substring(1) : parameter;
    int equals = bare.indexOf('=');
    String name = (equals < 0 ? bare : bare.substring(0, equals)).replace("\"", "");
    if (name.equals("--")) {
      throw new IllegalArgumentException(
          "the kernel parameters hold '--', which is followed by arguments for init: " + AGENT);
    }
    // A path below /proc/sys, with dots for slashes, or not (process_sysctl_arg of the kernel's
    // fs/proc/proc_sysctl.c).
    String canonical = name.startsWith("sysctl") ? name.replaceAll("[./]+", ".") : name;
    String reason = RESERVED.get(canonical);
    if (reason != null) {
      throw new IllegalArgumentException(
          "the kernel parameter " + parameter + " cannot be given: " + reason);
    }
  }
}
