// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Names of registries as users write them: what could never match is refused where it is given. */
final class RegistryName {
  private static final Pattern HOST =
      Pattern.compile("(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+])");
  private static final Pattern PORT = Pattern.compile(":([0-9]{1,5})");
  private static final Pattern PATH = Pattern.compile("(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+");

  private RegistryName() {}

  /**
   * A host.
   *
   * @param text {@code HOST[:PORT]}
   * @return the text
   * @throws IllegalArgumentException naming it, and at which character it is wrong
   */
  static String host(String text) {
    return check(text, false);
  }

  /** As {@link #host}, for {@code HOST[:PORT][/PATH]}. */
  static String hostAndPath(String text) {
    return check(text, true);
  }

  private static String check(String text, boolean pathAllowed) {
    int at = end(HOST, text, 0);
    if (at == 0) {
      throw bad(text, pathAllowed, "the host is missing or none", 0);
    }
    int afterPort = end(PORT, text, at);
    if (afterPort > at) {
      int port = Integer.parseInt(text.substring(at + 1, afterPort));
      if (port == 0 || port > 65535) {
        throw bad(text, pathAllowed, "a port is from 1 to 65535", at + 1);
      }
    }
    int end = pathAllowed ? end(PATH, text, afterPort) : afterPort;
    if (end < text.length()) {
      String fault =
          text.startsWith("://", end)
              ? "it has no scheme"
              : "'" + text.charAt(end) + "' cannot be there";
      throw bad(text, pathAllowed, fault, end);
    }
    return text;
  }

  private static int end(Pattern part, String text, int from) {
    Matcher matcher = part.matcher(text).region(from, text.length());
    return matcher.lookingAt() ? matcher.end() : from;
  }

  private static IllegalArgumentException bad(
      String text, boolean pathAllowed, String fault, int position) {
    return new IllegalArgumentException(
        "'"
            + text
            + "' is no registry: "
            + fault
            + ", at character "
            + (position + 1)
            + ". Write HOST[:PORT]"
            + (pathAllowed ? "[/PATH]" : "")
            + ", such as registry.example:5000.");
  }
}
