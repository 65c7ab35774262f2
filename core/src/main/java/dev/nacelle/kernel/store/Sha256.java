// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** SHA-256 (FIPS 180-4) as 64 lower-case hexadecimal digits. */
final class Sha256 {
  private static final int BUFFER = 1 << 16;

  private Sha256() {}

  static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  /** Has all that is read digested, and what is skipped, too. */
  static InputStream digesting(InputStream in, MessageDigest digest) {
    return new DigestInputStream(in, digest) {
      @Override
      public long skip(long n) throws IOException {
        int length = (int) Math.max(0, Math.min(n, BUFFER));
        return Math.max(0, read(new byte[length], 0, length));
      }

      @Override
      public long transferTo(OutputStream out) throws IOException {
        byte[] buffer = new byte[BUFFER];
        long total = 0;
        for (int n; (n = read(buffer)) >= 0; total += n) {
          out.write(buffer, 0, n);
        }
        return total;
      }
    };
  }

  static String hex(byte[] content) {
    return HexFormat.of().formatHex(digest().digest(content));
  }

  static String hex(Path file) throws IOException {
    MessageDigest digest = digest();
    byte[] buffer = new byte[BUFFER];
    try (InputStream in = Files.newInputStream(file)) {
      for (int n; (n = in.read(buffer)) >= 0; ) {
        digest.update(buffer, 0, n);
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }
}
