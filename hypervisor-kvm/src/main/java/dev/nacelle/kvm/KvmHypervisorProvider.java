// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Finding;
import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.GuestDriver.Use;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import java.util.List;
import java.util.Optional;

/** Virtual machines on Linux KVM, on x86-64. */
public final class KvmHypervisorProvider implements HypervisorProvider {
  static final String NAME = "kvm";

  private static final List<GuestDriver> DRIVERS =
      List.of(
          new GuestDriver("VIRTIO_MMIO", "virtio_mmio", Use.BUS),
          new GuestDriver("VIRTIO_VSOCKETS", "vmw_vsock_virtio_transport", Use.CONNECTION),
          new GuestDriver("VIRTIO_BLK", "virtio_blk", Use.DISK),
          new GuestDriver("HW_RANDOM_VIRTIO", "virtio_rng", Use.ENTROPY),
          new GuestDriver("VIRTIO_BALLOON", "virtio_balloon", Use.MEMORY));

  /** For {@link java.util.ServiceLoader}. */
  public KvmHypervisorProvider() {}

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean supportsPlatform() {
    return KvmHostCheck.ofThisHost().isForPlatform();
  }

  @Override
  public List<GuestDriver> drivers() {
    return DRIVERS;
  }

  @Override
  public Optional<String> clockOption() {
    return Optional.of("KVM_GUEST");
  }

  @Override
  public HostCheck check() {
    return KvmHostCheck.ofThisHost().run();
  }

  @Override
  public Hypervisor open() {
    KvmHostCheck check = KvmHostCheck.ofThisHost();
    Kvm kvm = check.openUsable();
    if (kvm == null) {
      Finding failure = check.result().failure(HostCheck.Ability.LINUX_KERNELS).orElseThrow();
      throw new HypervisorException(
          Stage.HOST, failure.detail(), failure.remedy().orElse(null), null);
    }
    try {
      return new KvmHypervisor(kvm);
    } catch (ErrnoException e) {
      throw new HypervisorException(
          Stage.HOST, Kvm.PATH + " does not say what it can do: " + e.getMessage(), e.remedy(), e);
    }
  }
}
