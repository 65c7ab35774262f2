// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.MountedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.UUID;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The example of {@link Ext4Writer}'s documentation, which is to be this one. */
class Ext4ExampleTest {
  private static final String PATH = "java/dev/nacelle/image/ext4/";

  @TempDir Path temp;

  @Test
  void theExampleWritesAFileSystem() throws IOException {
    Path image = temp.resolve("image");
    // example
    try (Ext4Writer writer = Ext4Writer.create(image, Ext4Options.of(UUID.randomUUID()))) {
      InodeAttributes attributes = new InodeAttributes(0755, 0, 0, Instant.now());
      Directory etc = writer.createDirectory(writer.root(), FileName.of("etc"), attributes);
      byte[] motd = "Hello\n".getBytes(StandardCharsets.UTF_8);
      writer.createFile(
          etc, FileName.of("motd"), attributes, motd.length, new ByteArrayInputStream(motd));
      writer.finish();
    }
    // end
    MountedImage.check(image);
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      assertEquals("Hello\n", Files.readString(mounted.root().resolve("etc/motd")));
    }
  }

  @Test
  void theDocumentationShowsThatExample() throws IOException {
    String documentation = Files.readString(Path.of("src/main", PATH, "Ext4Writer.java"));
    String test = Files.readString(Path.of("src/test", PATH, "Ext4ExampleTest.java"));
    String shown =
        between(documentation, "<pre>{@code\n", " * }</pre>").replaceAll("(?m)^ \\* ", "");

    assertEquals(between(test, "    // example\n", "    // end").indent(-4), shown);
    assertTrue(shown.lines().collect(Collectors.toList()).size() > 5);
  }

  private static String between(String text, String start, String end) {
    int from = text.indexOf(start) + start.length();
    return text.substring(from, text.indexOf(end, from));
  }
}
