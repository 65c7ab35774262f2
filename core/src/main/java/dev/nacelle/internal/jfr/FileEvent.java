// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Description;
import jdk.jfr.Label;
import jdk.jfr.Name;

/** An operation on files of a sandbox, for Java Flight Recorder; see {@link Recordings}. */
@Name("dev.nacelle.FileOperation")
@Label("Sandbox File Operation")
@Description("An operation on files of a sandbox")
final class FileEvent extends OfSandboxEvent {
  @Label("Operation")
  String operation = "";
}
