// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * What is known of a kernel and took time to find out, as a small text file in the cache: release,
 * build, and, after an empty line, the configuration.
 *
 * @param version the release, as {@code uname -r} prints it
 * @param build the build, as {@code uname -v} prints it
 */
record KernelFacts(String version, String build, Optional<KernelConfig> config) {

  void write(Path file) throws IOException {
    Files.writeString(
        file, version + "\n" + build + "\n\n" + config.map(KernelConfig::text).orElse(""));
  }

  static KernelFacts read(Path file) throws IOException {
    String text = Files.readString(file);
    int build = text.indexOf('\n') + 1;
    int config = text.indexOf("\n\n", build) + 2;
    if (build < 1 || config < 2) {
      throw new IOException(file + " is damaged; delete it");
    }
    return new KernelFacts(
        text.substring(0, build - 1),
        text.substring(build, config - 2),
        config == text.length()
            ? Optional.empty()
            : Optional.of(new KernelConfig(text.substring(config))));
  }
}
