// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Description;
import jdk.jfr.Label;
import jdk.jfr.Name;

/** A sandbox has ended, for Java Flight Recorder; see {@link Recordings}. */
@Name("dev.nacelle.SandboxExit")
@Label("Sandbox Exit")
@Description("A sandbox has ended")
final class ExitEvent extends OfSandboxEvent {
  @Label("Reason")
  String reason = "";

  @Label("Detail")
  String detail = "";
}
