// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** An operation on files of a sandbox, for Java Flight Recorder; see {@link Recordings}. */
@Name("dev.nacelle.FileOperation")
@Label("Sandbox File Operation")
@Description("An operation on files of a sandbox")
@Category("Nacelle")
@StackTrace(false)
final class FileEvent extends Event {
  @Label("Sandbox ID")
  String id = "";

  @Label("Sandbox")
  String sandbox = "";

  @Label("Operation")
  String operation = "";
}
