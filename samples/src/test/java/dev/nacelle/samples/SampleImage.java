// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** The small Debian with Python that {@code samples/run} makes, for the tests that boot kernels. */
final class SampleImage {
  private SampleImage() {}

  /** A reference to it, which is in the cache. */
  static String reference() {
    Path cache =
        Optional.ofNullable(System.getenv("XDG_CACHE_HOME"))
            .map(Path::of)
            .orElse(Path.of(System.getProperty("user.home"), ".cache"));
    Path layout = cache.resolve("nacelle/samples/debian-python");
    assertTrue(Files.exists(layout), layout + " is not there, which .ci/boot-tests makes");
    return "oci:" + layout;
  }
}
