// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** What rules of all kinds are made of, and how they are written. */
final class RuleText {
  private static final int MAX_NAME = 100;
  private static final int MAX_RANGES = 64;
  private static final String CUT = "...";
  private static final Pattern NAME = Pattern.compile("[\\x20-\\x7e]{1," + MAX_NAME + "}");

  private RuleText() {}

  /** Each read, once, in the order in which they were given. */
  static List<String> each(String what, List<String> given, UnaryOperator<String> read) {
    if (given.isEmpty() || given.size() > Egress.MAXIMUM) {
      throw new IllegalArgumentException(
          "a rule has 1 to " + Egress.MAXIMUM + " " + what + ", not " + given.size());
    }
    return given.stream().map(read).distinct().toList();
  }

  static List<PortRange> plus(List<PortRange> ports, PortRange more) {
    if (ports.size() == MAX_RANGES) {
      throw new IllegalArgumentException(
          "a rule has at most " + MAX_RANGES + " ranges of ports of a transport");
    }
    List<PortRange> all = new ArrayList<>(ports);
    all.add(more);
    return List.copyOf(all);
  }

  static String name(String name) {
    if (!NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          "a rule's name is 1 to "
              + MAX_NAME
              + " characters of printable ASCII, not '"
              + name
              + "'");
    }
    return name;
  }

  /** As long as a name can be. */
  static String cut(String text) {
    return text.length() <= MAX_NAME ? text : text.substring(0, MAX_NAME - CUT.length()) + CUT;
  }

  static String titled(@Nullable String name, String text) {
    return name == null ? text : name + " (" + text + ")";
  }
}
