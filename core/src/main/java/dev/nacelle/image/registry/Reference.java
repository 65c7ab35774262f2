// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Locale;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * What a server refers to, as browsers and Go take it: characters that no address may hold are
 * percent-encoded first, and then it is resolved by section 5.2 of RFC 3986, of which {@link
 * URI#resolve} has an older idea: it loses the last segment for "?query".
 */
final class Reference {
  /** Appendix B of RFC 3986; the fragment is for browsers. */
  private static final Pattern PARTS =
      Pattern.compile(
          "(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\\?([^#]*))?(?:#.*)?",
          Pattern.DOTALL);

  /** Of a path or a query: "pchar", "/" and "?". */
  private static final String LEGAL = "-._~!$&'()*+,;=:@/?";

  private static final Pattern ESCAPE = Pattern.compile("%[0-9A-Fa-f]{2}");

  private Reference() {}

  /**
   * The address that is meant.
   *
   * @param base where it was said
   * @param reference from a header: each character is a byte, or else meant as UTF-8
   * @throws IllegalArgumentException when that is none, naming the host where there is one
   */
  static URI resolve(URI base, String reference) {
    Matcher parts = PARTS.matcher(reference.strip());
    if (!parts.matches()) {
      throw new IllegalArgumentException("no address");
    }
    @Nullable String scheme = parts.group(1);
    @Nullable String authority = parts.group(2);
    String path = encode(parts.group(3));
    @Nullable String query = parts.group(4) == null ? null : encode(parts.group(4));
    if (scheme == null && authority == null) {
      if (path.isEmpty()) {
        path = Objects.requireNonNullElse(base.getRawPath(), "");
        query = query == null ? base.getRawQuery() : query;
      } else if (!path.startsWith("/")) {
        String from = Objects.requireNonNullElse(base.getRawPath(), "");
        path = from.isEmpty() ? "/" + path : from.substring(0, from.lastIndexOf('/') + 1) + path;
      }
    }
    if (authority == null && scheme == null) {
      authority = base.getRawAuthority();
    }
    if (authority == null) {
      throw new IllegalArgumentException("an address without a host");
    }
    String address =
        (scheme == null ? base.getScheme() : scheme).toLowerCase(Locale.ROOT)
            + "://"
            + authority
            + withoutDots(path)
            + (query == null ? "" : "?" + query);
    URI uri;
    try {
      uri = URI.create(address);
    } catch (IllegalArgumentException e) {
      uri = null;
    }
    if (uri == null || uri.getHost() == null) {
      throw new IllegalArgumentException("the host '" + host(authority) + "', which is no name");
    }
    return uri;
  }

  /** Fit to be shown, and without what may be a password. */
  private static String host(String authority) {
    return authority.substring(authority.lastIndexOf('@') + 1).replaceAll("[^\\x21-\\x7e]", "?");
  }

  private static String encode(String part) {
    StringBuilder encoded = new StringBuilder();
    Matcher escape = ESCAPE.matcher(part);
    for (int i = 0; i < part.length(); i++) {
      char c = part.charAt(i);
      boolean letter = c < 0x80 && Character.isLetterOrDigit(c);
      if (letter || LEGAL.indexOf(c) >= 0 || escape.region(i, part.length()).lookingAt()) {
        encoded.append(c);
      } else if (c <= 0xFF) {
        encoded.append(String.format(Locale.ROOT, "%%%02X", (int) c));
      } else {
        int end = part.offsetByCodePoints(i, 1);
        for (byte b : part.substring(i, end).getBytes(StandardCharsets.UTF_8)) {
          encoded.append(String.format(Locale.ROOT, "%%%02X", b & 0xFF));
        }
        i = end - 1;
      }
    }
    return encoded.toString();
  }

  /** Section 5.2.4. */
  private static String withoutDots(String path) {
    Deque<String> kept = new ArrayDeque<>();
    String[] segments = path.split("/", -1);
    for (int i = 1; i < segments.length; i++) {
      boolean last = i == segments.length - 1;
      switch (segments[i]) {
        case "." -> {}
        case ".." -> kept.pollLast();
        default -> kept.addLast(segments[i]);
      }
      if (last && (segments[i].equals(".") || segments[i].equals(".."))) {
        kept.addLast("");
      }
    }
    return kept.isEmpty() ? "/" : "/" + String.join("/", kept);
  }
}
