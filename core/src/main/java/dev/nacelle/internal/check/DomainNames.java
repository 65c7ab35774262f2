// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.check;

import com.google.common.net.InetAddresses;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Names of hosts as policies have them: lower case, A-labels, without a final dot. Their bounds are
 * those of RFC 1035 section 2.3.4; letters, digits and hyphens are those of RFC 1123 section 2.1,
 * with the underscore, which names in use have.
 */
public final class DomainNames {
  /** Of a name as text, which with its length octets and the root is 255 on the wire. */
  public static final int MAX_LENGTH = 253;

  private static final int MAX_LABEL = 63;

  /** Below which the host's own services are. */
  public static final String HOST_SERVICES = "host.internal";

  private static final String WILDCARD = "*.";

  /** What parsers of URLs take for an address: a last label of digits, or hexadecimal. */
  private static final Pattern ENDS_IN_NUMBER = Pattern.compile("(.*\\.)?(\\d+|0x[0-9a-f]*)");

  private DomainNames() {}

  /**
   * The name in the one form in which names are compared; null where it is none. For what a guest
   * or a server says: upper case is lowered and one final dot taken off.
   */
  public static @Nullable String canonical(String text) {
    String name = lower(text.endsWith(".") ? text.substring(0, text.length() - 1) : text);
    return fault(name) == null ? name : null;
  }

  /**
   * A name of a rule.
   *
   * @throws IllegalArgumentException when it is no name, or one that no rule can be for
   */
  public static String name(String text) {
    String name = lower(text);
    String fault = fault(name);
    if (fault == null && isAtOrBelow(name, "localhost")) {
      fault = "is the sandbox itself; a service of the host's is reached by hostService";
    } else if (fault == null && isAtOrBelow(name, HOST_SERVICES)) {
      fault = "is for services of the host's, which hostService names";
    }
    if (fault != null) {
      throw new IllegalArgumentException("'" + text + "' " + fault);
    }
    return name;
  }

  /**
   * A name of a rule, or {@code *.} and a name of at least two labels, for all below it.
   *
   * @throws IllegalArgumentException when it is neither
   */
  public static String pattern(String text) {
    if (text.equals("*")) {
      throw new IllegalArgumentException(
          "'*' would be every name; Egress.internet() is every public address");
    }
    if (!text.startsWith(WILDCARD)) {
      return name(text);
    }
    String below = name(text.substring(WILDCARD.length()));
    if (below.indexOf('.') < 0) {
      throw new IllegalArgumentException(
          "'" + text + "' would be every name of a top-level domain; name at least two labels");
    }
    return WILDCARD + below;
  }

  /**
   * A label, such as a service's name.
   *
   * @throws IllegalArgumentException when it is none
   */
  public static String label(String what, String text) {
    String label = lower(text);
    if (label.indexOf('.') >= 0 || fault(label) != null) {
      throw new IllegalArgumentException(
          "the "
              + what
              + " is 1 to 63 letters, digits, hyphens and underscores, which do not begin or end in"
              + " a hyphen and are not all digits; not '"
              + text
              + "'");
    }
    return label;
  }

  /** Whether a pattern is for what is below a name, which is then {@link #base}. */
  public static boolean isWildcard(String pattern) {
    return pattern.startsWith(WILDCARD);
  }

  /** A pattern's name, without the wildcard. */
  public static String base(String pattern) {
    return isWildcard(pattern) ? pattern.substring(WILDCARD.length()) : pattern;
  }

  /** Whether a name is another one or below it. */
  public static boolean isAtOrBelow(String name, String base) {
    return name.endsWith(base)
        && (name.length() == base.length()
            || name.charAt(name.length() - base.length() - 1) == '.');
  }

  private static @Nullable String fault(String name) {
    if (name.isEmpty()) {
      return "is no name: it is empty";
    }
    if (isAddress(name)) {
      return "is an address and no name; Egress.addresses is for those";
    }
    for (int i = 0; i < name.length(); i++) {
      char c = name.charAt(i);
      if (c > 0x7e) {
        return "is not ASCII; write its labels as they are in DNS, with xn--";
      }
      if (c == ':' || c == '/' || c == '@') {
        return "is no name: it has no scheme, user, port or path";
      }
      if (c == '*') {
        return "has a wildcard that does not stand for all labels in front";
      }
      if (!isLetterDigitHyphen(c) && c != '.') {
        return "is no name: it has a character other than letters, digits, hyphens, underscores";
      }
    }
    if (name.length() > MAX_LENGTH) {
      return "is no name: it has more than " + MAX_LENGTH + " characters";
    }
    if (name.endsWith(".")) {
      return "ends in a dot; names are absolute without it";
    }
    return labelFault(name);
  }

  private static @Nullable String labelFault(String name) {
    int start = 0;
    for (int i = 0; i <= name.length(); i++) {
      if (i < name.length() && name.charAt(i) != '.') {
        continue;
      }
      if (i == start || i - start > MAX_LABEL) {
        return "is no name: a label has 1 to " + MAX_LABEL + " characters";
      }
      if (name.charAt(start) == '-' || name.charAt(i - 1) == '-') {
        return "is no name: a label begins or ends in a hyphen";
      }
      start = i + 1;
    }
    return ENDS_IN_NUMBER.matcher(name).matches()
        ? "is no name: programs take one that ends in a number for an address"
        : null;
  }

  private static boolean isAddress(String name) {
    String bare =
        name.startsWith("[") && name.endsWith("]") ? name.substring(1, name.length() - 1) : name;
    return InetAddresses.isInetAddress(bare);
  }

  private static boolean isLetterDigitHyphen(char c) {
    return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_';
  }

  /** ASCII alone: other letters are refused, not made into other ones. */
  private static String lower(String text) {
    StringBuilder lower = null;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c >= 'A' && c <= 'Z') {
        lower = lower == null ? new StringBuilder(text) : lower;
        lower.setCharAt(i, (char) (c + ('a' - 'A')));
      }
    }
    return lower == null ? text : lower.toString();
  }
}
