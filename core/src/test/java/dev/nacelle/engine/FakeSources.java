// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataSize;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.SandboxSpec;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.store.ResolvedImage;
import dev.nacelle.spi.GuestDriver;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/** Images and kernels that only their names exist of. */
class FakeSources implements Sources {
  private static final ImageConfig CONFIG =
      ImageConfig.builder(Platform.LINUX_AMD64)
          .environment(List.of("PATH=/bin", "LANG=C.UTF-8"))
          .entrypoint(List.of("print-request", "from-entrypoint"))
          .command(List.of("from-cmd"))
          .workingDirectory("/srv")
          .user("app")
          .build();

  /** How many images are in use. */
  final AtomicInteger imagesInUse = new AtomicInteger();

  /** How many kernels are in use. */
  final AtomicInteger kernelsInUse = new AtomicInteger();

  @Override
  public RootImage image(SandboxSpec spec) throws Exception {
    ResolvedImage image = image(spec.image());
    imagesInUse.incrementAndGet();
    return new RootImage(image, imagesInUse::decrementAndGet);
  }

  @Override
  public PruneResult pruneImages(PrunePolicy policy) {
    return PruneResult.of(List.of(), DataSize.bytes(0), DataSize.bytes(0), false);
  }

  @Override
  public PruneResult pruneKernels(PrunePolicy policy) {
    return pruneImages(policy);
  }

  /** There is none of them. */
  @Override
  public DataSize size(Path file) {
    return DataSize.kibibytes(4);
  }

  /** An image. */
  ResolvedImage image(ImageRef ref) throws Exception {
    return new ResolvedImage(
        ref,
        new Digest(Digest.Algorithm.SHA256, "0".repeat(64)),
        CONFIG,
        Path.of("/fake/root.ext4"));
  }

  @Override
  public BootKernel kernel(SandboxSpec spec, List<GuestDriver> drivers) throws Exception {
    kernelsInUse.incrementAndGet();
    return new BootKernel(
        Path.of("/fake/vmlinux"),
        spec.kernel(),
        "6.1.0-fake",
        "#1 SMP fake",
        "FAKE_GUEST"::equals,
        () -> Path.of("/fake/initramfs.cpio"),
        kernelsInUse::decrementAndGet);
  }
}
