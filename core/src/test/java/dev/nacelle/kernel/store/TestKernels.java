// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.internal.CacheDirectory;
import dev.nacelle.internal.FileCache;
import dev.nacelle.kernel.KernelRef;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Objects;

/**
 * The real kernels that tests boot and take apart: Debian's unmodified cloud kernels, fetched once
 * through apt and kept in the user's cache directory.
 */
public final class TestKernels {
  /** A cache as that of {@link dev.nacelle.Nacelle}, apart from the user's own. */
  public static final Path CACHE = CacheDirectory.ofThisUser().resolve("tests");

  private static final Path DIRECTORY = CACHE.resolve("kernels");
  private static final KernelStore STORE = new KernelStore(DIRECTORY);

  private TestKernels() {}

  /** The store that holds them; shared by all test runs of this user. */
  public static KernelStore store() {
    return STORE;
  }

  /** Debian's newest 6.1 cloud kernel: LZ4 inside, modules not compressed. */
  public static ResolvedKernel debian61() {
    return STORE.resolve(KernelRef.debian("6.1"));
  }

  /** Debian's newest 6.12 cloud kernel: Zstandard inside, modules compressed with XZ. */
  public static ResolvedKernel debian612() {
    return STORE.resolve(KernelRef.debian("6.12"));
  }

  /** A module of that kernel's package, uncompressed. */
  public static byte[] module(ResolvedKernel kernel, String name) throws IOException {
    try (KernelArchive archive =
        new KernelArchive(kernel.ref().toString(), Objects.requireNonNull(kernel.archive()))) {
      return archive.module(archive.modules(kernel.version()).get(name));
    }
  }

  /** A directory as for {@code modprobe -d}: that kernel's package, unpacked and seen by depmod. */
  static Path modulesTree(ResolvedKernel kernel) throws IOException {
    Path trees = DIRECTORY.resolve("trees");
    Path tree = trees.resolve(kernel.sha256());
    new FileCache(trees)
        .get(
            kernel.sha256() + ".done",
            done -> {
              Path deb = DIRECTORY.resolve("packages").resolve(kernel.sha256() + ".deb");
              TestTools.run("dpkg-deb", "-x", deb.toString(), tree.toString());
              TestTools.run("/sbin/depmod", "-b", tree.toString(), kernel.version());
            });
    return tree;
  }
}
