// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.AbstractNetworkContractTest;
import org.junit.jupiter.api.Tag;

@Tag("boot")
class NetworkOnOwn612Test extends AbstractNetworkContractTest {
  NetworkOnOwn612Test() {
    super("nacelle:6.12");
  }
}
