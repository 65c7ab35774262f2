// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.internal.Gzip;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Whatever a server says is understood or refused; see {@link
 * dev.nacelle.image.testing.FuzzedImages} for how to fuzz.
 */
class RegistryFuzzTest {
  private static final URI BASE = URI.create("https://r.example:5000/v2/a/blobs/b?c");

  @FuzzTest(maxDuration = "5m")
  void referencesAreResolvedOrRefused(byte[] header) {
    URI uri;
    try {
      uri = Reference.resolve(BASE, new String(header, StandardCharsets.ISO_8859_1));
    } catch (IllegalArgumentException expected) {
      return; // said to be no address
    }
    if (uri.getHost() == null || !uri.getRawPath().startsWith("/")) {
      throw new AssertionError("not to be asked: " + uri);
    }
    if (!uri.equals(Reference.resolve(BASE, uri.toString()))) {
      throw new AssertionError("not the same when resolved again: " + uri);
    }
  }

  @FuzzTest(maxDuration = "5m")
  void challengesAreReadOrPassedOver(byte[] header) {
    Challenge.parse(List.of(new String(header, StandardCharsets.ISO_8859_1)));
  }

  @FuzzTest(maxDuration = "5m")
  void gzipIsUnpackedOrRefused(byte[] packed) {
    try (InputStream in = Gzip.open(new ByteArrayInputStream(packed))) {
      in.readNBytes(1 << 20);
    } catch (IOException expected) {
      // said to be wrong
    }
  }
}
