// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Finding;
import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;

/** Virtual machines on Linux KVM, on x86-64. */
public final class KvmHypervisorProvider implements HypervisorProvider {
  static final String NAME = "kvm";

  /** For {@link java.util.ServiceLoader}. */
  public KvmHypervisorProvider() {}

  @Override
  public String name() {
    return NAME;
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
          Stage.HOST,
          Kvm.PATH + " does not say what it can do: " + e.getMessage(),
          KvmHypervisor.remedy(e),
          e);
    }
  }
}
