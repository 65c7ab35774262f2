// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.FetchProgress.State;
import dev.nacelle.LayerProgress;
import dev.nacelle.PackageProgress;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.KernelRef;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class PullProgressLineTest {
  private static final ImageRef IMAGE = ImageRef.parse("r.example/app:1");
  private static final int MIB = 1 << 20;

  private final ByteArrayOutputStream written = new ByteArrayOutputStream();
  private final PullProgressLine line =
      new PullProgressLine(new PrintStream(written, true, StandardCharsets.UTF_8), true);

  private void tell(int number, int layers, State state, int doneMib, int totalMib) {
    Digest digest = Digest.parse("sha256:" + Integer.toString(number).repeat(64));
    line.onProgress(
        LayerProgress.of(
            IMAGE,
            digest,
            number,
            layers,
            state,
            DataSize.mebibytes(doneMib),
            DataSize.mebibytes(totalMib)));
  }

  /** What stood in the line, one after the other: sixths of the bar, and what follows it. */
  private List<String> shown() {
    return Stream.of(written.toString(StandardCharsets.UTF_8).split("\r", -1))
        .skip(1)
        .map(
            text -> {
              String bar = text.substring(text.indexOf('[') + 1, text.indexOf(']'));
              assertEquals(30, bar.length());
              int layers = text.indexOf("layers");
              return bar.strip().length() / 5
                  + "/6, "
                  + text.substring(text.indexOf(']') + 2, layers + 6)
                  + (text.contains("(retrying)") ? ", retrying" : "")
                  + (text.endsWith(System.lineSeparator()) ? ", end" : "");
            })
        .toList();
  }

  @Test
  void anImageOnABaseThatIsThereIsComplete() {
    tell(1, 3, State.ALREADY_THERE, 1, 1);
    tell(2, 3, State.ALREADY_THERE, 1, 1);
    tell(3, 3, State.WAITING, 0, 4);
    tell(3, 3, State.DOWNLOADING, 2, 4);
    tell(3, 3, State.DONE, 4, 4);

    assertEquals(
        List.of("2/6, 2 of 3 layers", "4/6, 2 of 3 layers", "6/6, 3 of 3 layers, end"), shown());
  }

  @Test
  void aLayerThatWaitsForItsTurnCountsFromTheBeginning() {
    tell(1, 2, State.WAITING, 0, 3);
    tell(2, 2, State.WAITING, 0, 3);
    tell(1, 2, State.DONE, 3, 3);
    tell(2, 2, State.DOWNLOADING, 1, 3);
    tell(2, 2, State.DONE, 3, 3);

    assertEquals(
        List.of(
            "0/6, 0 of 2 layers",
            "3/6, 1 of 2 layers",
            "4/6, 1 of 2 layers",
            "6/6, 2 of 2 layers, end"),
        shown());
  }

  @Test
  void anotherAttemptIsShown() {
    tell(1, 1, State.WAITING, 0, 6);
    tell(1, 1, State.DOWNLOADING, 2, 6);
    tell(1, 1, State.RETRYING, 2, 6);
    tell(1, 1, State.RESUMED, 2, 6);
    tell(1, 1, State.DONE, 6, 6);

    assertEquals(
        List.of(
            "0/6, 0 of 1 layers",
            "2/6, 0 of 1 layers",
            "2/6, 0 of 1 layers, retrying",
            "2/6, 0 of 1 layers",
            "6/6, 1 of 1 layers, end"),
        shown());
  }

  @Test
  void layersWithoutBytesFillTheBar() {
    tell(1, 1, State.WAITING, 0, 0);
    tell(1, 1, State.DONE, 0, 0);

    assertEquals(List.of("6/6, 0 of 1 layers", "6/6, 1 of 1 layers, end"), shown());
  }

  @Test
  void theNextImageHasItsOwnLine() {
    tell(1, 1, State.WAITING, 0, 6);
    tell(1, 1, State.DONE, 6, 6);
    tell(1, 2, State.WAITING, 0, 3);
    tell(2, 2, State.WAITING, 0, 3);

    assertEquals(
        List.of("0/6, 0 of 1 layers", "6/6, 1 of 1 layers, end", "0/6, 0 of 2 layers"), shown());
  }

  @Test
  void whatIsNoTerminalGetsALineForEachQuarter() {
    PullProgressLine lines =
        new PullProgressLine(new PrintStream(written, true, StandardCharsets.UTF_8), false);
    for (int done = 0; done <= 100; done++) {
      lines.onProgress(progress("linux-image", State.DOWNLOADING, done));
    }
    lines.onProgress(progress("linux-image", State.DONE, 100));
    lines.onProgress(progress("other", State.DOWNLOADING, 0));

    String text = written.toString(StandardCharsets.UTF_8);
    assertFalse(text.contains("\r"), text);
    assertEquals(6, text.lines().count(), text);
    assertTrue(text.lines().toList().get(5).startsWith("other 0.0"), text);
  }

  private static PackageProgress progress(String name, State state, int done) {
    return PackageProgress.of(
        KernelRef.parse("debian:6.12"),
        name,
        Digest.parse("sha256:" + "0".repeat(64)),
        state,
        DataSize.bytes(done),
        DataSize.bytes(100));
  }
}
