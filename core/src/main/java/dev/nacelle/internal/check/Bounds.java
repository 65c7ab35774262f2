// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.check;

import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * How large the parts of a process's specification may be: what the guest's agent takes
 * (agent.proto), and the kernel behind it. Held on the host, so that the message names who exceeds
 * them.
 */
public final class Bounds {
  /** PATH_MAX of linux/limits.h, without the NUL. */
  public static final int PATH_BYTES = 4095;

  /** Of a user and a group, as text. */
  public static final int USER_BYTES = 512;

  /** Directories that a command is looked up in. */
  private static final int PATH_ENTRIES = 256;

  /** MAX_ARG_STRLEN of linux/binfmts.h, without the NUL. */
  private static final int STRING_BYTES = (128 << 10) - 1;

  /** Arguments and variables together. */
  private static final int STRINGS = 1 << 16;

  /** What execve(2) has room for, with a NUL and a pointer for each string. */
  private static final int STRINGS_BYTES = 2 << 20;

  private static final int BYTES_BESIDES = 9;

  private Bounds() {}

  /**
   * The text, which may be a secret and is not told.
   *
   * @throws IllegalArgumentException when it has more bytes than that in UTF-8
   */
  public static String bytes(String what, String text, int most) {
    int length = length(text);
    if (length > most) {
      throw new IllegalArgumentException(
          "the " + what + " has " + length + " bytes, more than " + most);
    }
    return text;
  }

  /**
   * Of arguments, the first of which is the command, and variables as {@code NAME=value}.
   *
   * @throws IllegalArgumentException when they are more than a process can be given
   */
  public static void strings(List<String> arguments, Collection<String> variables) {
    int count = arguments.size() + variables.size();
    if (count > STRINGS) {
      throw new IllegalArgumentException(
          count + " arguments and variables are more than " + STRINGS);
    }
    long total = 0;
    for (String argument : arguments) {
      total += length(bytes("argument", argument, STRING_BYTES)) + BYTES_BESIDES;
    }
    for (String variable : variables) {
      String name = variable.substring(0, Math.max(variable.indexOf('='), 0));
      total += length(bytes("variable " + name, variable, STRING_BYTES)) + BYTES_BESIDES;
      if (name.equals("PATH") && variable.chars().filter(c -> c == ':').count() >= PATH_ENTRIES) {
        throw new IllegalArgumentException(
            "the variable PATH has more than " + PATH_ENTRIES + " directories");
      }
    }
    if (total > STRINGS_BYTES) {
      throw new IllegalArgumentException(
          "arguments and variables take " + total + " bytes, more than " + STRINGS_BYTES);
    }
    if (!arguments.isEmpty()) {
      bytes("command", arguments.get(0), PATH_BYTES);
    }
  }

  /** As a process gets them. */
  public static List<String> entries(Map<String, String> variables) {
    return variables.entrySet().stream().map(v -> v.getKey() + "=" + v.getValue()).toList();
  }

  private static int length(String text) {
    return text.getBytes(StandardCharsets.UTF_8).length;
  }
}
