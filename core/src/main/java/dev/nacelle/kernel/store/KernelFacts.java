// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * What is known of a kernel and took time to find out, as a small text file in the cache: release,
 * build, package, and, after an empty line, the configuration.
 *
 * @param version the release, as {@code uname -r} prints it
 * @param build the build, as {@code uname -v} prints it
 * @param packageName name and version of the package it came in; empty where there is none
 */
record KernelFacts(
    String version, String build, String packageName, Optional<KernelConfig> config) {

  static KernelFacts of(Vmlinux vmlinux, String packageName, Optional<String> config) {
    return new KernelFacts(
        vmlinux.version(), vmlinux.build(), packageName, config.map(KernelConfig::new));
  }

  void write(Path file) throws IOException {
    Files.writeString(
        file,
        String.join("\n", version, build, packageName, "")
            + "\n"
            + config.map(KernelConfig::text).orElse(""));
  }

  static KernelFacts read(Path file) throws IOException {
    String[] parts = Files.readString(file).split("\n", 5);
    if (parts.length != 5 || !parts[3].isEmpty()) {
      throw new IOException(file + " is damaged; delete it");
    }
    return new KernelFacts(
        parts[0],
        parts[1],
        parts[2],
        parts[4].isEmpty() ? Optional.empty() : Optional.of(new KernelConfig(parts[4])));
  }
}
