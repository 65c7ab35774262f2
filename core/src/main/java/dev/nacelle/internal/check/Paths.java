// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.check;

import java.util.Arrays;

/** Paths and texts that the guest's agent is given, with its bounds (agent.proto). */
public final class Paths {
  private Paths() {}

  /**
   * A path of the container's.
   *
   * @throws IllegalArgumentException when it is not absolute, has more than 4095 bytes, a NUL or
   *     ".." as one of its names
   */
  public static String absolute(String what, String path) {
    if (!path.startsWith("/") || Arrays.asList(path.split("/")).contains("..")) {
      throw new IllegalArgumentException(
          "the " + what + " is not an absolute path without \"..\": '" + path + "'");
    }
    return text(what, path);
  }

  /**
   * A text for the kernel.
   *
   * @throws IllegalArgumentException when it has more than 4095 bytes, or a NUL
   */
  public static String text(String what, String text) {
    if (text.indexOf('\0') >= 0) {
      throw new IllegalArgumentException("the " + what + " holds a NUL");
    }
    return Bounds.bytes(what, text, Bounds.PATH_BYTES);
  }
}
