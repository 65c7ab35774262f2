// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.HostCheck;
import dev.nacelle.hyperv.machines.Machines;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import java.util.List;

/** Hyper-V by the stand-in, whose machines really boot: as on Windows, whatever the system is. */
final class StandInProvider implements HypervisorProvider {
  private final HypervProvider provider = new HypervProvider();

  private static HypervHostCheck hostCheck() {
    Machines.boot();
    return new HypervHostCheck("Windows 10", "amd64", () -> HypervHostCheckTest.USER);
  }

  @Override
  public String name() {
    return provider.name();
  }

  @Override
  public boolean supportsPlatform() {
    return true;
  }

  @Override
  public List<GuestDriver> drivers() {
    return provider.drivers();
  }

  @Override
  public HostCheck check() {
    return hostCheck().run();
  }

  @Override
  public Hypervisor open() {
    HypervHostCheck check = hostCheck();
    HostCheck found = check.run();
    if (!found.usable()) {
      throw new AssertionError(found);
    }
    return new HypervHypervisor(check.host());
  }
}
