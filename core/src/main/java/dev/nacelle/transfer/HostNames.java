// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Which names of a guest's files a host can have. */
final class HostNames {
  /** "Naming Files, Paths, and Namespaces" of Microsoft's documentation, by the name's stem. */
  private static final Set<String> DEVICES =
      Set.of("con", "prn", "aux", "nul", "conin$", "conout$", "clock$");

  private static final Pattern PORT = Pattern.compile("(com|lpt)[0-9\u00b9\u00b2\u00b3]");

  private HostNames() {}

  /** Why it cannot be one component of a path; null when it can. */
  static @Nullable String refusal(String name, boolean windows) {
    if (name.isEmpty() || name.equals(".") || name.equals("..")) {
      return "it is no name";
    }
    if (name.indexOf('/') >= 0 || name.indexOf('\0') >= 0) {
      return "it has a separator or a NUL";
    }
    if (!windows) {
      return null;
    }
    for (int i = 0; i < name.length(); i++) {
      if (name.charAt(i) < ' ' || "\\:*?\"<>|".indexOf(name.charAt(i)) >= 0) {
        return "it has a character that names have not on Windows";
      }
    }
    if (name.endsWith(".") || name.endsWith(" ")) {
      return "Windows drops the dot or the space at its end";
    }
    int dot = name.indexOf('.');
    String stem =
        (dot < 0 ? name : name.substring(0, dot)).stripTrailing().toLowerCase(Locale.ROOT);
    return DEVICES.contains(stem) || PORT.matcher(stem).matches()
        ? "it is a device's on Windows"
        : null;
  }
}
