// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import com.google.common.base.Suppliers;
import dev.nacelle.FetchListener;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.SandboxSpec;
import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.image.Platform;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.store.ImageLease;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.kernel.store.GuestAgentBinary;
import dev.nacelle.kernel.store.KernelDemands;
import dev.nacelle.kernel.store.KernelLease;
import dev.nacelle.kernel.store.KernelLock;
import dev.nacelle.kernel.store.KernelStore;
import dev.nacelle.kernel.store.LockedKernels;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.spi.GuestDriver;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Images and kernels from the stores below a cache directory. */
final class StoredSources implements Sources {
  private final PullPolicy defaultPolicy;
  private final @Nullable LockedKernels locked;
  private final ImageStore images;
  private final KernelStore kernels;
  private final Supplier<GuestAgentBinary> agent = Suppliers.memoize(GuestAgentBinary::load);

  /**
   * @param lock what decides which kernels names stand for, or null
   * @param listener is told how layers and packages arrive
   */
  StoredSources(
      Path directory,
      RegistryOptions registries,
      PullPolicy defaultPolicy,
      @Nullable KernelLock lock,
      FetchListener listener) {
    this.defaultPolicy = defaultPolicy;
    images = new ImageStore(directory.resolve("images"), ImageLimits.DEFAULT, registries, listener);
    kernels = new KernelStore(directory.resolve("kernels"), images, listener);
    locked = lock == null ? null : new LockedKernels(lock, kernels);
  }

  @Override
  public RootImage image(SandboxSpec spec) {
    ImageLease lease = images.lease(spec.image(), Platform.LINUX_AMD64, pullPolicy(spec));
    return new RootImage(lease.image(), lease::close);
  }

  private PullPolicy pullPolicy(SandboxSpec spec) {
    return spec.pullPolicy().orElse(defaultPolicy);
  }

  @Override
  public PruneResult pruneImages(PrunePolicy policy) {
    return images.prune(policy);
  }

  @Override
  public PruneResult pruneKernels(PrunePolicy policy) {
    return kernels.prune(policy);
  }

  @Override
  public BootKernel kernel(SandboxSpec spec, List<GuestDriver> drivers) {
    PullPolicy policy = pullPolicy(spec);
    KernelLease lease =
        kernels.lease(
            () ->
                locked == null
                    ? kernels.resolve(spec.kernel(), spec.fetchTimeout(), policy)
                    : locked.resolve(spec.kernel(), spec.fetchTimeout(), policy));
    ResolvedKernel kernel = lease.kernel();
    KernelDemands demands =
        new KernelDemands(
            spec.kernelModules(),
            spec.sysctls().keySet(),
            spec.pidsLimit().isPresent(),
            !spec.network().isNone(),
            spec.cpus(),
            options(spec));
    return new BootKernel(
        kernel.vmlinux(),
        kernel.pinnedRef(),
        kernel.version(),
        kernel.build(),
        option -> kernel.config().filter(config -> config.isBuiltIn(option)).isPresent(),
        () -> lease.initramfs(agent.get(), drivers, demands),
        lease::close);
  }

  /** Options of the kernel that the container takes; a process's own are looked at as it starts. */
  static Map<String, String> options(SandboxSpec spec) {
    Map<String, String> options = new TreeMap<>();
    ContainerSpec container = spec.container();
    if (!spec.security().seccomp().equals(SeccompProfile.UNCONFINED)) {
      options.put("SECCOMP_FILTER", "for its seccomp profile");
    }
    if (container.ownNetwork()) {
      options.put("NET_NS", "for a network of its own");
    }
    if (container.userNamespace().isPresent()) {
      options.put("USER_NS", "for its user namespace");
    }
    if (container.timeNamespace().isPresent()) {
      options.put("TIME_NS", "for its time namespace");
    }
    return options;
  }
}
