// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A stage of starting a sandbox, for Java Flight Recorder; see {@link Recordings}. */
@Name("dev.nacelle.SandboxStage")
@Label("Sandbox Stage")
@Description("A stage of starting a sandbox")
@Category("Nacelle")
@StackTrace(false)
final class StageEvent extends Event {
  @Label("Sandbox ID")
  String id = "";

  @Label("Sandbox")
  String sandbox = "";

  @Label("Stage")
  String stage = "";
}
