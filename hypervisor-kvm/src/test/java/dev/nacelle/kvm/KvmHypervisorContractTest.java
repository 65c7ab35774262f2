// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.spi.AbstractHypervisorContractTest;
import dev.nacelle.spi.HypervisorProvider;

class KvmHypervisorContractTest extends AbstractHypervisorContractTest {
  @Override
  protected HypervisorProvider provider() {
    return new KvmHypervisorProvider();
  }
}
