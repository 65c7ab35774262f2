// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.results;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.isolation.results.Results.Better;
import dev.nacelle.isolation.results.Results.Clock;
import dev.nacelle.isolation.results.Results.Figure;
import dev.nacelle.isolation.results.Results.Host;
import dev.nacelle.isolation.results.Results.Image;
import dev.nacelle.isolation.results.Results.Peer;
import dev.nacelle.isolation.results.Results.Series;
import dev.nacelle.isolation.results.Results.Unit;
import dev.nacelle.isolation.results.Results.Where;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ResultsTest {
  private static final Figure EXEC =
      new Figure(
          "exec", "exec round trip", "life", Unit.NANOSECONDS, Better.LOWER, "call", "end", null);
  private static final Peer BARE = new Peer("bare", "bare process", "Linux 6.12");
  private static final Peer RUNC = new Peer("runc", "container (runc)", "runc 1.1.5");

  @TempDir Path directory;

  private static Results results(Series... series) {
    return new Results(
        Results.FORMAT,
        "2026-11-30T03:00:00Z",
        Where.LAB,
        Clock.INSTRUCTIONS,
        true,
        new Host("6.1.0", "a \"CPU\"", 2, "17", 1.25),
        "0.1.0",
        new Image("debian:12", "sha256:00"),
        List.of("true"),
        List.of(BARE, RUNC),
        List.of(EXEC),
        List.of(series),
        3);
  }

  @Test
  void whatIsWrittenIsRead() throws IOException {
    Results results =
        results(
            new Series("exec", "bare", List.of(1.0, 2.5, 3e15), 2, null, "not in every round"),
            Series.none("exec", "runc", "no runc here"));
    Path file = directory.resolve("results.json");
    results.write(file);
    assertEquals(results, Results.read(file));
    String text = Files.readString(file);
    assertTrue(text.contains("\"short\" : true"), text);
    assertTrue(text.contains("[ 1, 2.5, 3000000000000000 ]"), text);
    assertTrue(text.contains("\"unit\" : \"ns\""), text);
  }

  /** As files were before rounds were told and notes made. */
  @Test
  void fileWithoutRoundsIsRead() throws IOException {
    Path file = directory.resolve("results.json");
    results(Series.of("exec", "bare", List.of(1.0), 0)).write(file);
    Files.writeString(file, Files.readString(file).replaceFirst(",\\s*\"rounds\" : 3", ""));
    assertNull(Results.read(file).rounds());
  }

  @Test
  void fileThatCannotBeWrittenIsFoundOutBefore() throws IOException {
    Path file = directory.resolve("new/directory/results.json");
    Results.requireWritable(file);
    assertFalse(Files.exists(file));
    results(Series.of("exec", "bare", List.of(1.0), 0)).write(file);
    IOException error =
        assertThrows(IOException.class, () -> Results.requireWritable(file.resolve("below.json")));
    assertTrue(error.getMessage().contains("below.json"), error.getMessage());
    assertThrows(IOException.class, () -> Results.requireWritable(directory));
  }

  @Test
  void seriesHasSamplesOrReason() {
    assertThrows(
        IllegalArgumentException.class, () -> new Series("exec", "bare", null, null, null, null));
    assertThrows(
        IllegalArgumentException.class,
        () -> new Series("exec", "bare", List.of(1.0), 0, "none", null));
    assertThrows(IllegalArgumentException.class, () -> Series.of("exec", "bare", List.of(), 0));
  }

  @Test
  void seriesAreOfKnownThingsAndOnce() {
    Series bare = Series.of("exec", "bare", List.of(1.0), 0);
    assertThrows(IllegalArgumentException.class, () -> results(bare, bare));
    assertThrows(
        IllegalArgumentException.class, () -> results(Series.none("exec", "lxc", "no such")));
    assertThrows(
        IllegalArgumentException.class, () -> results(Series.none("fork", "bare", "no such")));
  }

  @Test
  void otherFilesAreRefusedByTheirNames() throws IOException {
    Path file = directory.resolve("other.json");
    for (String text : List.of("", "[]", "{}", "{\"format\":2}", "{\"format\":1}")) {
      Files.writeString(file, text);
      IOException error = assertThrows(IOException.class, () -> Results.read(file));
      assertTrue(error.getMessage().contains("other.json"), error.getMessage());
    }
  }
}
