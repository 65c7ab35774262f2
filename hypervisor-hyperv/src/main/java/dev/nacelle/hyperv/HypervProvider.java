// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Finding;
import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import java.util.List;

/** Virtual machines of the Host Compute Service, on Windows on x86-64. */
public final class HypervProvider implements HypervisorProvider {
  static final String NAME = "hyperv";

  private static final List<GuestDriver> DRIVERS =
      List.of(
          new GuestDriver("HYPERV", "hv_vmbus", GuestDriver.Use.BUS),
          new GuestDriver("HYPERV_VSOCKETS", "hv_sock", GuestDriver.Use.CONNECTION),
          new GuestDriver("HYPERV_STORAGE", "hv_storvsc", GuestDriver.Use.DISK),
          new GuestDriver("BLK_DEV_SD", "sd_mod", GuestDriver.Use.DISK));

  /** For {@link java.util.ServiceLoader}. */
  public HypervProvider() {}

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean supportsPlatform() {
    return HypervHostCheck.ofThisHost().isSupportedPlatform();
  }

  @Override
  public List<GuestDriver> drivers() {
    return DRIVERS;
  }

  @Override
  public HostCheck check() {
    return HypervHostCheck.ofThisHost().run();
  }

  @Override
  public Hypervisor open() {
    HypervHostCheck check = HypervHostCheck.ofThisHost();
    Finding failure = check.run().failure(HostCheck.Ability.LINUX_KERNELS).orElse(null);
    if (failure != null) {
      throw new HypervisorException(
          Stage.HOST, failure.detail(), failure.remedy().orElse(null), null);
    }
    return new HypervHypervisor(check.host());
  }
}
