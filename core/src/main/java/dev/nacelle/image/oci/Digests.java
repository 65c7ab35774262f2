// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.image.Digest;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;

/** Digests of what is at hand. */
public final class Digests {
  private Digests() {}

  /** Of a text in UTF-8. */
  public static Digest sha256(String text) {
    return sha256(text.getBytes(StandardCharsets.UTF_8));
  }

  /** Of bytes. */
  public static Digest sha256(byte[] bytes) {
    return ofValue(
        Digest.Algorithm.SHA256, Digest.Algorithm.SHA256.newMessageDigest().digest(bytes));
  }

  /** Of a file's content. */
  public static Digest of(Digest.Algorithm algorithm, Path file) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      return of(algorithm, in);
    }
  }

  /** Of all that is left of a stream. */
  public static Digest of(Digest.Algorithm algorithm, InputStream in) throws IOException {
    MessageDigest digest = algorithm.newMessageDigest();
    byte[] buffer = new byte[1 << 16];
    for (int count; (count = in.read(buffer)) >= 0; ) {
      digest.update(buffer, 0, count);
    }
    return ofValue(algorithm, digest.digest());
  }

  /** The digest that these 32 or 64 bytes are. */
  public static Digest ofValue(Digest.Algorithm algorithm, byte[] value) {
    return new Digest(algorithm, HexFormat.of().formatHex(value));
  }

  /** The digest itself, 32 or 64 bytes. */
  public static byte[] value(Digest digest) {
    return HexFormat.of().parseHex(digest.hex());
  }
}
