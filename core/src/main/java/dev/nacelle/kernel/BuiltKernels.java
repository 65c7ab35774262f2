// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import dev.nacelle.internal.CacheDirectory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Optional;
import java.util.stream.Stream;

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

  /**
   * The file that a reference to a kernel of our own names.
   *
   * @throws KernelException when it has not been built
   */
  Path vmlinux(KernelRef ref) throws IOException {
    Path series = directory.resolve(ref.name());
    try {
      // The build of this moment, so that a new one does not come in between.
      return series.toRealPath().resolve(VMLINUX);
    } catch (NoSuchFileException e) {
      throw new KernelException(
          ref + " has not been built: there is no " + series.resolve(VMLINUX),
          "Run guest-agent/kernel/build " + ref.name() + ", or use debian:" + ref.name() + ".",
          e);
    }
  }

  /** The newest series that has been built. */
  Optional<KernelRef> newest() throws IOException {
    if (!Files.isDirectory(directory)) {
      return Optional.empty();
    }
    try (Stream<Path> entries = Files.list(directory)) {
      return entries
          .filter(entry -> Files.exists(entry.resolve(VMLINUX)))
          .map(entry -> entry.getFileName().toString())
          .filter(KernelRef::isOwnSeries)
          .max(Comparator.comparing(name -> name, AptKernels::compareVersions))
          .map(KernelRef::nacelle);
    }
  }
}
