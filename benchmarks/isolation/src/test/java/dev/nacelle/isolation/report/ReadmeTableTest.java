// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReadmeTableTest {
  private static final String EMPTY =
      """
      before
      <!-- What isolation costs: written by benchmarks/report --readme, from here -->
      <!-- to here. -->
      after
      """;

  @TempDir Path tree;

  private Path readme;
  private Path kept;

  @BeforeEach
  void makeTree() throws IOException {
    readme = Files.writeString(tree.resolve("README.md"), EMPTY);
    kept = Files.createDirectories(tree.resolve("benchmarks/results")).resolve("lab.json");
  }

  /** What is in this project's README is what its kept results say. */
  @Test
  void readmeIsOfTheKeptResults() throws IOException {
    Path project = Path.of("../..").toAbsolutePath().normalize();
    assertEquals(
        List.of(),
        ReadmeTable.stale(project),
        "differ from the results in benchmarks/results; benchmarks/report --readme renews them");
  }

  @Test
  void tableIsWrittenOnceAndThenLeft() throws IOException {
    Files.writeString(kept, Sample.text());
    Path picture = tree.resolve("benchmarks/results/lab.svg");
    assertEquals(List.of(readme, picture), ReadmeTable.stale(tree));
    assertEquals(List.of(readme, picture), ReadmeTable.update(tree));
    assertEquals(List.of(), ReadmeTable.stale(tree));
    String text = Files.readString(readme);
    assertTrue(text.startsWith("before\n") && text.endsWith("\n<!-- to here. -->\nafter\n"), text);
    assertTrue(
        text.contains(
            "![What isolation costs, against a bare process](benchmarks/results/lab.svg)"));
    assertTrue(text.contains("| exec round trip | 1.1 ms | 44 ms ×40 | 3 to 5 |\n"), text);
    assertTrue(text.contains("| starts a second | 800/s | 22.5/s ×35.6 | 1 to 2 |\n"), text);
    assertTrue(text.contains("\\<script\\>alert(1)\\</script\\>'\" onload=x\\|\\[a\\](b)"), text);

    Files.writeString(kept, Sample.text().replace("44000000", "42000000"));
    assertTrue(ReadmeTable.stale(tree).contains(readme));
    Files.delete(kept);
    ReadmeTable.update(tree);
    assertTrue(Files.readString(readme).contains("No run is kept yet"));
  }

  @Test
  void imageOfAHostHasNoDirectory() throws IOException {
    String image = "<script>alert(1)</script>'\\\" onload=x|[a](b)";
    Files.writeString(kept, Sample.text().replace(image, "oci:/home/somebody/debian:12"));
    ReadmeTable.update(tree);
    String text = Files.readString(readme);
    assertTrue(text.contains(" debian:12 on Linux"), text);
    assertFalse(text.contains("somebody"), text);
  }

  @Test
  void pictureStandsAlone() throws IOException {
    Files.writeString(kept, Sample.text());
    ReadmeTable.update(tree);
    String svg = Files.readString(tree.resolve("benchmarks/results/lab.svg"));
    assertTrue(svg.contains("<style>") && svg.contains("prefers-color-scheme:dark"), svg);
    assertTrue(svg.contains("exec round trip"), svg);
    assertTrue(svg.contains("container (runc): 44 ms ×40"), svg);
  }

  @Test
  void shortRunsAreNotKept() throws IOException {
    Files.writeString(kept, Sample.text().replace("\"short\": false", "\"short\": true"));
    IOException error = assertThrows(IOException.class, () -> ReadmeTable.update(tree));
    assertTrue(error.getMessage().contains("lab.json"), error.getMessage());
    assertEquals(EMPTY, Files.readString(readme));
  }

  @Test
  void readmeWithoutTheCommentsIsLeftAlone() throws IOException {
    Files.writeString(readme, "nothing\n");
    IOException error = assertThrows(IOException.class, () -> ReadmeTable.update(tree));
    assertTrue(error.getMessage().contains("<!-- to here. -->"), error.getMessage());
    assertEquals("nothing\n", Files.readString(readme));
  }
}
