// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ImageException;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.image.testing.TarMaker;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What Java Flight Recorder gets of images. */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "the registry is a program for Linux")
class ImageRecordingTest {
  private static byte[] tar(String name) throws Exception {
    return new TarMaker().file(name, "content of " + name).finish();
  }

  @Test
  void layersAndFilesystemsAreEventsWithTheirSizes(@TempDir Path directory) throws Exception {
    LayoutMaker layout = new LayoutMaker(directory.resolve("layout"));
    byte[] blob = LayoutMaker.gzip(tar("one"));
    layout.tag(
        layout.image("linux/amd64", layout.layer(LayoutMaker.GZIP, blob, tar("one"))), "one");
    layout.tag(layout.image("linux/amd64", layout.gzipLayer("not a tar".getBytes())), "broken");
    Path file = directory.resolve("recording.jfr");
    Path filesystem;
    try (Recording recording = new Recording();
        RegistryServer registry = RegistryServer.open(directory.resolve("registry"))) {
      recording.enable("dev.nacelle.LayerFetch").withoutThreshold();
      recording.enable("dev.nacelle.ImageBuild").withoutThreshold();
      recording.start();
      for (String tag : List.of("one", "broken")) {
        registry.push("oci:" + layout.directory() + ":" + tag, "test/image:" + tag);
      }
      ImageStore store =
          new ImageStore(
              directory.resolve("store"),
              ImageLimits.DEFAULT,
              RegistryOptions.builder().plainHttp(registry.host()).build(),
              progress -> {});
      String name = registry.host() + "/test/image:";
      try (ImageLease lease =
          store.lease(ImageRef.parse(name + "one"), Platform.LINUX_AMD64, PullPolicy.MISSING)) {
        filesystem = lease.image().filesystem();
      }
      assertThrows(
          ImageException.class,
          () ->
              store.lease(
                  ImageRef.parse(name + "broken"), Platform.LINUX_AMD64, PullPolicy.MISSING));
      recording.stop();
      recording.dump(file);
    }
    List<RecordedEvent> events = RecordingFile.readAllEvents(file);
    RecordedEvent layer =
        events.stream()
            .filter(event -> event.getEventType().getName().equals("dev.nacelle.LayerFetch"))
            .filter(event -> event.getString("digest").equals(LayoutMaker.digest(blob)))
            .findFirst()
            .orElseThrow();
    assertEquals(blob.length, layer.getLong("size"));
    assertTrue(layer.getBoolean("succeeded") && layer.getString("image").endsWith("image:one"));
    List<String> built =
        events.stream()
            .filter(event -> event.getEventType().getName().equals("dev.nacelle.ImageBuild"))
            .map(event -> event.getInt("layers") + " " + event.getLong("size"))
            .toList();
    assertEquals(List.of("1 " + Files.size(filesystem), "1 0"), built);
  }
}
