// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import java.util.Locale;

/**
 * HTML or SVG that is being written. What comes from results goes through {@link #text} or {@link
 * #escape}: an image's name is its user's, and so are labels and reasons.
 */
final class Markup {
  private final StringBuilder out = new StringBuilder();

  /** As it is: what this program says itself. Numbers of a format have a point, no comma. */
  Markup raw(String format, Object... values) {
    out.append(values.length == 0 ? format : String.format(Locale.ROOT, format, values));
    return this;
  }

  /** As text, and nothing else. */
  Markup text(String text) {
    out.append(escape(text));
    return this;
  }

  /** An element with text alone. */
  Markup element(String name, String text) {
    return raw("<" + name + ">").text(text).raw("</" + name.split(" ", 2)[0] + ">");
  }

  /**
   * For an element's content, or an attribute's value in double quotes. What XML cannot hold, and
   * what would turn the reading of the text around, is a replacement character.
   */
  static String escape(String text) {
    StringBuilder escaped = new StringBuilder();
    text.codePoints()
        .forEach(
            c -> {
              switch (c) {
                case '&' -> escaped.append("&amp;");
                case '<' -> escaped.append("&lt;");
                case '>' -> escaped.append("&gt;");
                case '"' -> escaped.append("&quot;");
                case '\'' -> escaped.append("&#39;");
                default -> escaped.appendCodePoint(isPlain(c) ? c : '\ufffd');
              }
            });
    return escaped.toString();
  }

  /** Whether it is what it looks like: no control, no format character, no half of a pair. */
  static boolean isPlain(int c) {
    if (c == '\n' || c == '\t') {
      return true;
    }
    return switch (Character.getType(c)) {
      case Character.CONTROL, Character.FORMAT, Character.SURROGATE, Character.UNASSIGNED -> false;
      default -> true;
    };
  }

  /** Not longer than that, so that it has room in a picture. */
  static String cut(String text, int most) {
    return text.codePointCount(0, text.length()) <= most
        ? text
        : text.substring(0, text.offsetByCodePoints(0, most - 1)) + "…";
  }

  @Override
  public String toString() {
    return out.toString();
  }
}
