// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Objects;

/** Results that nobody measured, with names that are up to no good. */
final class Sample {
  private Sample() {}

  static String text() throws IOException {
    try (InputStream in = Objects.requireNonNull(Sample.class.getResourceAsStream("sample.json"))) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }
}
