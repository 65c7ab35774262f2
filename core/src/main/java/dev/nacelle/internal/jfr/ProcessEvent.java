// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Description;
import jdk.jfr.Label;
import jdk.jfr.Name;

/**
 * A process in a sandbox, from the request to its end, for Java Flight Recorder; see {@link
 * Recordings}.
 */
@Name("dev.nacelle.Process")
@Label("Sandbox Process")
@Description("A process in a sandbox, from the request to its end")
final class ProcessEvent extends OfSandboxEvent {
  @Label("Executable")
  String executable = "";

  @Label("Ended")
  @Description("Whether it ran and its end was learnt")
  boolean ended;

  @Label("Exit Code")
  int exitCode;

  @Label("Signal")
  @Description("What ended it; 0 for none")
  int signal;

  @Label("Timed Out")
  boolean timedOut;

  @Label("OOM Killed")
  boolean oomKilled;
}
