// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Description;
import jdk.jfr.Label;
import jdk.jfr.Name;

/** A stage of starting a sandbox, for Java Flight Recorder; see {@link Recordings}. */
@Name("dev.nacelle.SandboxStage")
@Label("Sandbox Stage")
@Description("A stage of starting a sandbox")
final class StageEvent extends OfSandboxEvent {
  @Label("Stage")
  String stage = "";
}
