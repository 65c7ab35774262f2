// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.AbstractNetworkContractTest;
import org.junit.jupiter.api.Tag;

@Tag("boot")
class NetworkOnDebian612Test extends AbstractNetworkContractTest {
  NetworkOnDebian612Test() {
    super("debian:6.12");
  }
}
