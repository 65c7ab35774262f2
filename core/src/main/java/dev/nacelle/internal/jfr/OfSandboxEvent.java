// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.StackTrace;

/** What events of a sandbox say of it. */
@Category("Nacelle")
@StackTrace(false)
abstract class OfSandboxEvent extends Event {
  @Label("Sandbox ID")
  String id = "";

  @Label("Sandbox")
  String sandbox = "";

  /** Says of which sandbox it is. */
  final void of(String id, String sandbox) {
    this.id = id;
    this.sandbox = sandbox;
  }
}
