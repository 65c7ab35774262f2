// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.GuestAgentBinary;
import dev.nacelle.kernel.store.KernelStore;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kvm.KvmHypervisorProvider;
import java.nio.file.Path;

/**
 * Makes a kernel, its initramfs and perhaps an image ready in a cache, so that nothing of it is
 * done while something is measured, and prints the paths of the first two, one a line.
 */
public final class Prepare {
  private Prepare() {}

  /**
   * @param arguments the cache's directory, the kernel's reference, and perhaps an image's
   */
  public static void main(String... arguments) {
    Path cache = Path.of(arguments[0]);
    KernelStore kernels = new KernelStore(cache.resolve("kernels"));
    ResolvedKernel kernel = kernels.resolve(KernelRef.parse(arguments[1]));
    System.out.println(kernel.vmlinux());
    System.out.println(
        kernels.initramfs(kernel, GuestAgentBinary.load(), new KvmHypervisorProvider().drivers()));
    if (arguments.length > 2) {
      new ImageStore(cache.resolve("images")).resolve(ImageRef.parse(arguments[2]));
    }
  }
}
