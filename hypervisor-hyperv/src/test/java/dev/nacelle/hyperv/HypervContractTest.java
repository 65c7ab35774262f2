// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.spi.AbstractHypervisorContractTest;
import dev.nacelle.spi.HypervisorProvider;
import java.util.EnumSet;
import java.util.Set;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * The hypervisor on the stand-in, whose machines QEMU runs. Our own kernel has QEMU's drivers and
 * Hyper-V's; one of Debian's would be given the modules of Hyper-V's alone.
 */
@ExtendWith(BootsMachines.class)
class HypervContractTest extends AbstractHypervisorContractTest {
  private final HypervisorProvider provider = new StandInProvider();

  @Override
  protected HypervisorProvider provider() {
    return provider;
  }

  @Override
  protected ResolvedKernel kernel() {
    return TestKernels.store().resolve(KernelRef.nacelle("6.12"));
  }

  @Override
  protected Set<Ability> inabilities() {
    return EnumSet.of(
        // The service tells of none.
        Ability.COUNTS_EXITS,
        // Which exit type a reset has, that StopOnReset makes an end, is documented nowhere.
        Ability.TELLS_RESETS,
        // An image becomes a fixed VHD by a footer behind it.
        Ability.LEAVES_IMAGES_ALONE,
        // The stand-in stops QEMU's process: whether a guest's clock goes on depends on which it
        // took.
        Ability.STOPS_CLOCKS);
  }
}
