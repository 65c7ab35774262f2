// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.Stage;

/**
 * What Java Flight Recorder gets of a stage; nothing where the Java runtime is without the module
 * jdk.jfr, as one that jlink made may be.
 */
final class StageRecording {
  private static final boolean HAS_RECORDER = hasRecorder();

  private StageRecording() {}

  private static boolean hasRecorder() {
    try {
      Class.forName("jdk.jfr.Event", false, StageRecording.class.getClassLoader());
      return true;
    } catch (ClassNotFoundException e) {
      return false;
    }
  }

  /** Begins; what is returned ends it. */
  static Runnable begin(String id, String sandbox, Stage stage) {
    return HAS_RECORDER ? event(id, sandbox, stage) : () -> {};
  }

  private static Runnable event(String id, String sandbox, Stage stage) {
    StageEvent event = new StageEvent(id, sandbox, stage);
    event.begin();
    return event::commit;
  }
}
