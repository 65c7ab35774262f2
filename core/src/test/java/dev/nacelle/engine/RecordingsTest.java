// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.DataDisk;
import dev.nacelle.FileException;
import dev.nacelle.ImageException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.Stage;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.internal.jfr.Recordings;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.Transport;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** What Java Flight Recorder gets to know. */
@Timeout(120)
@ExtendWith(NettyLeaks.class)
class RecordingsTest {
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
            .filter(event -> event.getEventType().getName().equals("dev.nacelle.SandboxStage"))
            .filter(event -> event.getString("id").equals(id))
            .peek(event -> assertEquals("recorded", event.getString("sandbox")))
            .map((RecordedEvent event) -> Stage.valueOf(event.getString("stage")))
            .collect(Collectors.toCollection(() -> EnumSet.noneOf(Stage.class)));
    assertEquals(
        EnumSet.of(
            Stage.IMAGE, Stage.KERNEL, Stage.INITRAMFS, Stage.CREATE, Stage.BOOT, Stage.PREPARE),
        stages);
  }

  @Test
  void processesAndTheEndAreEventsWithoutArguments(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("recording.jfr");
    try (Recording recording = new Recording();
        FakeNacelle fake = new FakeNacelle()) {
      recording.enable("dev.nacelle.Process").withoutThreshold();
      recording.enable("dev.nacelle.SandboxExit");
      recording.start();
      try (Sandbox sandbox = fake.nacelle.start(FakeNacelle.spec().name("recorded").build())) {
        sandbox.exec("both", "a-secret");
        sandbox.exec("nosuch");
        sandbox.execAsync(ProcessSpec.of("echo")).join();
        sandbox.start("false").waitFor();
      }
      fake.close();
      recording.stop();
      recording.dump(file);
    }
    List<String> processes =
        RecordingFile.readAllEvents(file).stream()
            .filter(event -> event.getEventType().getName().equals("dev.nacelle.Process"))
            .peek(event -> assertEquals("recorded", event.getString("sandbox")))
            .map(
                event ->
                    event.getString("executable")
                        + " "
                        + event.getBoolean("ended")
                        + " "
                        + event.getInt("exitCode"))
            .sorted()
            .toList();
    assertEquals(
        List.of("both true 7", "echo true 0", "false true 1", "nosuch true 127"), processes);
    List<String> ends =
        RecordingFile.readAllEvents(file).stream()
            .filter(event -> event.getEventType().getName().equals("dev.nacelle.SandboxExit"))
            .map(event -> event.getString("reason") + " " + event.getString("detail"))
            .toList();
    assertEquals(List.of("CLOSED was closed"), ends);
  }

  @Test
  void operationsOnFilesAreEventsWithoutPaths(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("recording.jfr");
    String id;
    try (Recording recording = new Recording();
        FakeNacelle fake = new FakeNacelle()) {
      recording.enable("dev.nacelle.FileOperation").withoutThreshold();
      recording.start();
      try (Sandbox sandbox = fake.start()) {
        id = sandbox.id();
        // What the guest says of it is of no importance.
        assertThrows(FileException.class, () -> sandbox.files().read("/a-secret"));
      }
      recording.stop();
      recording.dump(file);
    }
    List<RecordedEvent> operations =
        RecordingFile.readAllEvents(file).stream()
            .filter(event -> event.getEventType().getName().equals("dev.nacelle.FileOperation"))
            .filter(event -> event.getString("id").equals(id))
            .toList();
    assertEquals(
        List.of("READ"), operations.stream().map(event -> event.getString("operation")).toList());
    assertFalse(operations.toString().contains("secret"));
  }

  @Test
  void flowsOfANetworkAreEvents(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("recording.jfr");
    NetworkEvent.Flow flow =
        new NetworkEvent.Flow(
            1,
            Transport.TCP,
            NetworkEvent.Direction.OUTBOUND,
            InetAddress.getByName("192.0.2.1"),
            443,
            0);
    Instant now = Instant.now();
    try (Recording recording = new Recording()) {
      recording.enable("dev.nacelle.NetworkFlow").withoutThreshold();
      recording.start();
      for (NetworkEvent event :
          List.of(
              new NetworkEvent.FlowAllowed("id", now, flow, "rule", List.of()),
              new NetworkEvent.FlowEnded(
                  "id", now, flow, 3, 4, Duration.ofSeconds(5), NetworkEvent.End.FINISHED),
              new NetworkEvent.FlowDenied(
                  "id", now, flow, DenialReason.NO_RULE, "", List.of(), "a-secret"),
              new NetworkEvent.FlowFailed("id", now, flow, "refused"))) {
        Recordings.network("recorded", event);
      }
      recording.stop();
      recording.dump(file);
    }
    List<RecordedEvent> flows = RecordingFile.readAllEvents(file);
    assertEquals(
        List.of(
            "id recorded TCP OUTBOUND 192.0.2.1 443 FINISHED 3 4 PT5S",
            "id recorded TCP OUTBOUND 192.0.2.1 443 NO_RULE 0 0 PT0S",
            "id recorded TCP OUTBOUND 192.0.2.1 443 FAILED 0 0 PT0S"),
        flows.stream()
            .map(
                event ->
                    String.join(
                        " ",
                        event.getString("id"),
                        event.getString("sandbox"),
                        event.getString("transport"),
                        event.getString("direction"),
                        event.getString("remote"),
                        "" + event.getInt("port"),
                        event.getString("outcome"),
                        "" + event.getLong("sent"),
                        "" + event.getLong("received"),
                        "" + event.getDuration("lasted")))
            .toList());
    assertFalse(flows.toString().contains("secret"));
  }

  @Test
  void disksThatAreMadeOfDirectoriesAreEventsWithoutPaths(@TempDir Path directory)
      throws Exception {
    Path file = directory.resolve("recording.jfr");
    Path secret = Files.createDirectory(directory.resolve("a-secret"));
    Files.writeString(secret.resolve("file"), "12345");
    try (Recording recording = new Recording();
        FakeNacelle fake = new FakeNacelle()) {
      recording.enable("dev.nacelle.DiskBuild").withoutThreshold();
      recording.start();
      fake.nacelle.makeDisk(DataDisk.of(secret), directory.resolve("image"));
      DataDisk none = DataDisk.of(directory.resolve("none"));
      assertThrows(
          ImageException.class, () -> fake.nacelle.makeDisk(none, directory.resolve("other")));
      recording.stop();
      recording.dump(file);
    }
    List<RecordedEvent> builds =
        RecordingFile.readAllEvents(file).stream()
            .filter(event -> event.getEventType().getName().equals("dev.nacelle.DiskBuild"))
            .toList();
    assertEquals(
        List.of("5 true", "0 false"),
        builds.stream()
            .map(event -> event.getLong("size") + " " + event.getBoolean("succeeded"))
            .toList());
    assertFalse(builds.toString().contains("secret"));
  }
}
