// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.Stage;
import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A stage of a sandbox's start, for Java Flight Recorder; see {@link StageRecording}. */
@Name("dev.nacelle.SandboxStage")
@Label("Sandbox Stage")
@Description("A stage of starting a sandbox")
@Category("Nacelle")
@StackTrace(false)
final class StageEvent extends Event {
  @Label("Sandbox ID")
  final String id;

  @Label("Sandbox")
  final String sandbox;

  @Label("Stage")
  final String stage;

  StageEvent(String id, String sandbox, Stage stage) {
    this.id = id;
    this.sandbox = sandbox;
    this.stage = stage.name();
  }
}
