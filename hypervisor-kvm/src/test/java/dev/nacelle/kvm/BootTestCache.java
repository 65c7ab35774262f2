// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.Nacelle;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.GuestAgentBinary;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernelImages;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.spi.ContractGuest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Makes on this machine what the tests that boot kernels have in common: their kernels, initramfs
 * and images. The lab where most of them run has no network, and is many times slower; nor would
 * two labs that run at once share what they make (.ci/boot-tests).
 */
final class BootTestCache {
  /** What tests boot, as they name it. */
  private static final List<String> KERNELS =
      List.of("debian:6.1", "debian:6.12", "nacelle:6.1", "nacelle:6.12");

  private BootTestCache() {}

  /**
   * @param named images to make, in place of all else
   */
  public static void main(String[] named) throws IOException {
    if (named.length == 0) {
      prepareAll();
      return;
    }
    try (Nacelle nacelle =
        Nacelle.builder().hypervisor("kvm").cacheDirectory(TestKernels.CACHE).build()) {
      for (String image : named) {
        KERNELS.forEach(
            kernel -> nacelle.prepare(SandboxSpec.builder().image(image).kernel(kernel).build()));
      }
    }
  }

  private static void prepareAll() throws IOException {
    ResolvedKernel debian61 = TestKernels.debian61();
    TestKernels.store().resolve(KernelRef.parse("image:oci:" + TestKernelImages.layout(debian61)));
    ContractGuest.initramfs(debian61, ContractGuest.drivers());
    for (ResolvedKernel kernel : List.of(debian61, TestKernels.debian612())) {
      TestKernels.store()
          .initramfs(kernel, GuestAgentBinary.of(LinuxDriversTest.peer()), ContractGuest.drivers());
    }
    Path directory = Files.createTempDirectory("boot-test-cache");
    try {
      List<ImageRef> images =
          List.of(
              TestImages.busybox(directory.resolve("busybox")),
              TestImages.busybox(directory.resolve("programs"), OwnKernelTest.PROGRAMS));
      // Hyper-V's guests boot here as well, by a hypervisor of its module's tests.
      for (String hypervisor : List.of("kvm", "hyperv")) {
        Nacelle.Builder nacelle =
            Nacelle.builder().hypervisor(hypervisor).cacheDirectory(TestKernels.CACHE);
        for (String kernel : KERNELS) {
          for (ImageRef image : images) {
            SandboxSpec.Builder spec = SandboxSpec.builder().image(image).kernel(kernel);
            nacelle.prepare(spec.build());
            nacelle.prepare(spec.pidsLimit(32).build());
            SandboxSpec.Builder more = SandboxSpec.builder().image(image).kernel(kernel);
            nacelle.prepare(more.kernelModules("fuse").build());
          }
        }
      }
    } finally {
      Tool.run(directory.getParent(), "rm", "-r", directory.toString());
    }
  }
}
