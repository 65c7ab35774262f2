// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.Sandbox;
import dev.nacelle.Stage;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Set;
import java.util.stream.Collectors;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What Java Flight Recorder gets of a start. */
@Timeout(120)
class StageRecordingTest {
  @Test
  void eachStageIsAnEventWithTheSandboxesIdAndName(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("recording.jfr");
    String id;
    try (Recording recording = new Recording();
        FakeNacelle fake = new FakeNacelle()) {
      recording.enable("dev.nacelle.SandboxStage").withoutThreshold();
      recording.start();
      try (Sandbox sandbox = fake.nacelle.start(FakeNacelle.spec().name("recorded").build())) {
        id = sandbox.id();
      }
      recording.stop();
      recording.dump(file);
    }
    Set<Stage> stages =
        RecordingFile.readAllEvents(file).stream()
            .filter(event -> event.getString("id").equals(id))
            .peek(event -> assertEquals("recorded", event.getString("sandbox")))
            .map((RecordedEvent event) -> Stage.valueOf(event.getString("stage")))
            .collect(Collectors.toCollection(() -> EnumSet.noneOf(Stage.class)));
    assertEquals(
        EnumSet.of(
            Stage.IMAGE, Stage.KERNEL, Stage.INITRAMFS, Stage.CREATE, Stage.BOOT, Stage.PREPARE),
        stages);
  }
}
