// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.internal.check.Bounds;
import dev.nacelle.internal.check.Paths;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** What several builders refuse. */
final class Checks {
  /** Fits 63 bits of nanoseconds, which Duration alone does not promise. */
  static final Duration LONGEST = Duration.ofDays(36_525);

  private static final int PAGE = 4096;
  private static final Pattern SYSTEM = Pattern.compile("/|/(dev|proc|sys)(/.*)?", Pattern.DOTALL);
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9._-]{1,64}");

  private Checks() {}

  /** The text itself may be a secret. */
  static String noNul(String what, String text) {
    int at = text.indexOf('\0');
    if (at >= 0) {
      throw new IllegalArgumentException("the " + what + " holds a NUL, at index " + at);
    }
    return text;
  }

  static List<String> arguments(List<String> arguments) {
    List<String> copy = List.copyOf(arguments);
    copy.forEach(argument -> noNul("argument", argument));
    return copy;
  }

  static void variable(Map<String, String> variables, String name, String value) {
    if (name.isEmpty() || name.indexOf('=') >= 0) {
      throw new IllegalArgumentException("not the name of an environment variable: '" + name + "'");
    }
    variables.put(noNul("variable's name", name), noNul("variable " + name, value));
  }

  static String absolute(String path) {
    if (!path.startsWith("/")) {
      throw new IllegalArgumentException("the working directory is not absolute: '" + path + "'");
    }
    return Bounds.bytes("working directory", noNul("working directory", path), Bounds.PATH_BYTES);
  }

  /** Where a disk is mounted, written in one way. */
  static String mountPoint(String path) {
    String point =
        Arrays.stream(Paths.absolute("disk's mount point", path).split("/"))
            .filter(name -> !name.isEmpty() && !name.equals("."))
            .collect(Collectors.joining("/", "/", ""));
    if (SYSTEM.matcher(point).matches()) {
      throw new IllegalArgumentException(
          "a disk cannot be mounted on the root, nor on /dev, /proc and /sys or below: " + path);
    }
    return point;
  }

  /** Of a sandbox or a unikernel, for messages and thread names. */
  static String name(String what, String name) {
    if (!NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          what + "'s name is 1 to 64 characters of [A-Za-z0-9._-], not '" + name + "'");
    }
    return name;
  }

  static String user(String user) {
    return Bounds.bytes("user", noNul("user", user), Bounds.USER_BYTES);
  }

  static DataSize wholePages(DataSize memory) {
    if (memory.bytes() > Long.MAX_VALUE - PAGE) {
      throw new IllegalArgumentException("no machine has " + memory + " of memory");
    }
    return DataSize.bytes((memory.bytes() + PAGE - 1) / PAGE * PAGE);
  }

  static Duration duration(String what, Duration duration) {
    if (duration.isNegative() || duration.isZero() || duration.compareTo(LONGEST) > 0) {
      throw new IllegalArgumentException(
          "the " + what + " is not between 1 ns and 100 years: " + duration);
    }
    return duration;
  }
}
