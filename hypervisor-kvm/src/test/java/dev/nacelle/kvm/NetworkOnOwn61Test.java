// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.AbstractNetworkContractTest;
import org.junit.jupiter.api.Tag;

@Tag("boot")
class NetworkOnOwn61Test extends AbstractNetworkContractTest {
  NetworkOnOwn61Test() {
    super("nacelle:6.1");
  }
}
