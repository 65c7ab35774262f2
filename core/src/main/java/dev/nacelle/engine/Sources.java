// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataSize;
import dev.nacelle.PreparedSandbox;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.SandboxSpec;
import dev.nacelle.image.store.ResolvedImage;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.spi.GuestDriver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Predicate;

/** Where images and kernels come from. May block, and is interrupted when it takes too long. */
interface Sources {
  /** The image of a sandbox, which stays where it is until it is closed. */
  RootImage image(SandboxSpec spec) throws Exception;

  /** Removes images that nobody uses. */
  PruneResult pruneImages(PrunePolicy policy);

  /** Removes kernels, and what was made of them, that nobody uses. */
  PruneResult pruneKernels(PrunePolicy policy);

  /**
   * The kernel of a sandbox, which stays where it is until it is closed. Fetching it may take as
   * long as starting the sandbox.
   *
   * @param drivers those that it needs for the machine's devices
   */
  BootKernel kernel(SandboxSpec spec, List<GuestDriver> drivers) throws Exception;

  /** Has everything at hand that starting this takes, so that it is not waited for later. */
  default PreparedSandbox prepare(SandboxSpec spec, List<GuestDriver> drivers) throws Exception {
    try (RootImage image = image(spec);
        BootKernel kernel = kernel(spec, drivers)) {
      return new Prepared(
          image.image().pinnedRef(),
          image.image().digest(),
          size(image.image().filesystem()),
          kernel.ref(),
          kernel.release(),
          size(kernel.vmlinux()),
          size(kernel.initramfs().call()));
    }
  }

  /** What a file of theirs takes. */
  default DataSize size(Path file) throws IOException {
    return DataSize.bytes(Files.size(file));
  }

  /**
   * An image in use.
   *
   * @param release gives it back
   */
  record RootImage(ResolvedImage image, Runnable release) implements AutoCloseable {
    /** The same, which gives that back, too. */
    RootImage with(Runnable other) {
      return new RootImage(
          image,
          () -> {
            release.run();
            other.run();
          });
    }

    /** Idempotent; does not throw. */
    @Override
    public void close() {
      release.run();
    }
  }

  /**
   * A kernel that can be booted.
   *
   * @param vmlinux the uncompressed kernel
   * @param ref what it was found to be
   * @param release as {@code uname -r} is to print it
   * @param version as {@code uname -v} is to print it
   * @param hasBuiltIn whether an option of that name, without CONFIG_, is known to be built in
   * @param initramfs makes the initramfs for it and the sandbox; apart, to be timed apart
   * @param giveBack the kernel, and the initramfs where it was made
   */
  record BootKernel(
      Path vmlinux,
      KernelRef ref,
      String release,
      String version,
      Predicate<String> hasBuiltIn,
      Callable<Path> initramfs,
      Runnable giveBack)
      implements AutoCloseable {
    /** Idempotent; does not throw. */
    @Override
    public void close() {
      giveBack.run();
    }
  }
}
