// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Locale;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The digest that names a blob ("Digests" of the OCI image specification's descriptor.md), such as
 * {@code sha256:} and 64 lower-case hexadecimal digits.
 *
 * @param algorithm sha256 or sha512
 * @param hex lower-case hexadecimal digits
 */
public record Digest(Algorithm algorithm, String hex) {
  private static final Pattern HEX = Pattern.compile("[0-9a-f]+");
  private static final int MAX_SHOWN = 200;

  /**
   * The specification's registered algorithms. More may be added: a {@code switch} has a default.
   */
  public enum Algorithm {
    SHA256("SHA-256", 64),
    SHA512("SHA-512", 128);

    private final String javaName;
    private final int digits;

    Algorithm(String javaName, int digits) {
      this.javaName = javaName;
      this.digits = digits;
    }

    /** As in a digest: "sha256". */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }

    /** A new one of that algorithm. */
    public MessageDigest newMessageDigest() {
      try {
        return MessageDigest.getInstance(javaName);
      } catch (NoSuchAlgorithmException e) {
        throw new IllegalStateException("every Java has " + javaName, e);
      }
    }
  }

  /**
   * Checks the digits.
   *
   * @throws IllegalArgumentException when they are not those of such a digest
   */
  public Digest {
    if (hex.length() != algorithm.digits || !HEX.matcher(hex).matches()) {
      throw new IllegalArgumentException(
          "a " + algorithm + " digest has " + algorithm.digits + " lower-case hexadecimal digits");
    }
  }

  /**
   * Reads {@code ALGORITHM:HEX}.
   *
   * @throws IllegalArgumentException naming the text, and saying what is wrong with it
   */
  public static Digest parse(String text) {
    int colon = text.indexOf(':');
    for (Algorithm algorithm : Algorithm.values()) {
      if (colon > 0 && text.substring(0, colon).equals(algorithm.toString())) {
        try {
          return new Digest(algorithm, text.substring(colon + 1));
        } catch (IllegalArgumentException e) {
          throw bad(text, e.getMessage());
        }
      }
    }
    throw bad(text, "a digest starts with sha256: or sha512:");
  }

  private static IllegalArgumentException bad(String text, @Nullable String fault) {
    String shown = text.length() <= MAX_SHOWN ? text : text.substring(0, MAX_SHOWN) + "...";
    return new IllegalArgumentException("'" + shown + "' is no digest: " + fault);
  }

  /** Whether it is the digest of that. */
  public boolean matches(byte[] content) {
    byte[] digest = algorithm.newMessageDigest().digest(content);
    return HexFormat.of().formatHex(digest).equals(hex);
  }

  /** {@code ALGORITHM:HEX}. */
  @Override
  public String toString() {
    return algorithm + ":" + hex;
  }
}
