// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Map;
import java.util.regex.Pattern;

/** Names and values of sysctls: files below /proc/sys, and lines for them. */
final class Sysctls {
  /** How many a sandbox may set. */
  static final int MAX = 256;

  private static final int MAX_NAME = 255;

  /** Longer than any list that Linux keeps in one, and far less than its bound of 4 KiB. */
  private static final int MAX_VALUE = 1024;

  /** What cannot be set, and why. */
  private static final Map<String, String> RESERVED =
      Map.of(
          "kernel.hostname",
          "the host name is set by hostname",
          "kernel.panic",
          KernelParameters.RESET);

  private static final Pattern PATH = Pattern.compile("[A-Za-z0-9_.:@+-]+(/[A-Za-z0-9_.:@+-]+)+");
  private static final Pattern VALUE = Pattern.compile("[\\x20-\\x7e\\t]*");

  private Sysctls() {}

  /**
   * A name as sysctl(8) prints it, with dots between its parts: of "net/ipv4/ip_forward" and
   * "net.ipv4.ip_forward" the latter. Where the first separator is a slash, dots belong to the
   * parts ("net/ipv4/conf/eth0.100/forwarding"), and become slashes (sysctl.d(5)).
   *
   * @throws IllegalArgumentException when it is not the name of a sysctl, or one that cannot be set
   *     this way
   */
  static String name(String name) {
    int dot = name.indexOf('.');
    int slash = name.indexOf('/');
    String path = dot >= 0 && (slash < 0 || dot < slash) ? swapped(name) : name;
    if (name.length() > MAX_NAME
        || !PATH.matcher(path).matches()
        || ("/" + path + "/").matches(".*/\\.{1,2}/.*")) {
      throw new IllegalArgumentException(
          "not the name of a sysctl, such as net.core.somaxconn: '"
              + name.substring(0, Math.min(name.length(), MAX_NAME))
              + "'");
    }
    String dotted = swapped(path);
    String reason = RESERVED.get(dotted);
    if (reason != null) {
      throw new IllegalArgumentException("the sysctl " + dotted + " cannot be set: " + reason);
    }
    return dotted;
  }

  /**
   * A value, as it is.
   *
   * @param name for the message
   * @throws IllegalArgumentException when it has more than 1024 characters, or others than
   *     printable ASCII and tabs
   */
  static String value(String name, String value) {
    if (value.length() > MAX_VALUE) {
      throw new IllegalArgumentException(
          "the value of the sysctl "
              + name
              + " has "
              + value.length()
              + " characters, and at most "
              + MAX_VALUE
              + " are taken");
    }
    if (!VALUE.matcher(value).matches()) {
      throw new IllegalArgumentException(
          "the value of the sysctl " + name + " is not one line of printable ASCII");
    }
    return value;
  }

  private static String swapped(String name) {
    return name.replace('.', '\0').replace('/', '.').replace('\0', '/');
  }
}
