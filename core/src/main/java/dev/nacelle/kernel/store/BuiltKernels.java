// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.internal.CacheDirectory;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Optional;

/**
 * Nacelle's own kernels, where {@code guest-agent/kernel/build} leaves them: {@code
 * SERIES/vmlinux}, a link that it replaces in one step.
 */
final class BuiltKernels {
  private static final String VMLINUX = "vmlinux";

  private final Path directory;

  /**
   * @param directory need not exist
   */
  BuiltKernels(Path directory) {
    this.directory = directory;
  }

  static BuiltKernels ofThisUser() {
    return new BuiltKernels(CacheDirectory.ofThisUser().resolve("built-kernels"));
  }

  /** The kernel of that series, when it has been built. */
  Optional<Path> vmlinux(String series) throws IOException {
    try {
      // The build of this moment, so that a new one does not come in between.
      return Optional.of(directory.resolve(series).toRealPath().resolve(VMLINUX));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    }
  }

  /** Where it would be. */
  Path place(String series) {
    return directory.resolve(series).resolve(VMLINUX);
  }
}
