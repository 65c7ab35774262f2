// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.hyperv.machines.Machines;
import dev.nacelle.hyperv.sys.StandIn;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** The machines of a class of tests boot, and when it has closed everything, nothing is left. */
final class BootsMachines implements BeforeAllCallback, AfterAllCallback {
  @Override
  public void beforeAll(ExtensionContext context) {
    StandIn.reset();
    Machines.boot();
  }

  @Override
  public void afterAll(ExtensionContext context) {
    StandIn.requireNothingLeft();
  }
}
