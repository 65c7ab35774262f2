// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How a server wants to be authenticated to: a challenge of RFC 9110 section 11.6.1.
 *
 * @param scheme in lower case: "basic", "bearer"
 * @param parameters by name in lower case
 */
record Challenge(String scheme, Map<String, String> parameters) {
  /** Servers say little here; a longer header is not looked at. */
  private static final int MAX_LENGTH = 2 << 10;

  private static final String TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";

  /**
   * A parameter, or else the scheme of a challenge, with the token68 that some have in place of
   * parameters and nobody here has a use for; RFC 9110 sections 5.6.2, 5.6.4, 11.2 and 11.3.
   */
  private static final Pattern PART =
      Pattern.compile(
          "\\G[\\s,]*(?:("
              + TOKEN
              + ")\\s*=\\s*(?:\"([^\"\\\\]*+(?:\\\\.[^\"\\\\]*+)*+)\"|("
              + TOKEN
              + "))|("
              + TOKEN
              + ")(?:\\s+[A-Za-z0-9._~+/-]++=*+(?=\\s*(?:,|$)))?(?=[\\s,]|$))");

  /** All challenges of the header's lines; what is no challenge is passed over. */
  static List<Challenge> parse(List<String> lines) {
    List<Challenge> challenges = new ArrayList<>();
    for (String line : lines) {
      if (line.length() > MAX_LENGTH) {
        continue;
      }
      Matcher matcher = PART.matcher(line);
      while (matcher.find()) {
        String scheme = matcher.group(4);
        if (scheme != null) {
          challenges.add(new Challenge(scheme.toLowerCase(Locale.ROOT), new HashMap<>()));
        } else if (!challenges.isEmpty()) {
          String quoted = matcher.group(2);
          challenges
              .get(challenges.size() - 1)
              .parameters
              .put(
                  matcher.group(1).toLowerCase(Locale.ROOT),
                  quoted == null ? matcher.group(3) : quoted.replaceAll("\\\\(.)", "$1"));
        }
      }
    }
    return challenges;
  }
}
