// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A sandbox has ended, for Java Flight Recorder; see {@link Recordings}. */
@Name("dev.nacelle.SandboxExit")
@Label("Sandbox Exit")
@Description("A sandbox has ended")
@Category("Nacelle")
@StackTrace(false)
final class ExitEvent extends Event {
  @Label("Sandbox ID")
  String id = "";

  @Label("Sandbox")
  String sandbox = "";

  @Label("Reason")
  String reason = "";

  @Label("Detail")
  String detail = "";
}
