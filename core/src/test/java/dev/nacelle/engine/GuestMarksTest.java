// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.BootTimeline.Entry;
import dev.nacelle.Stage;
import dev.nacelle.agent.AgentClient.Step;
import dev.nacelle.agent.AgentInfo;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GuestMarksTest {
  private static final long CALL = Long.MAX_VALUE - 500;

  private static AgentInfo marks(long init, long loaded, long connected) {
    return new AgentInfo("", "", "", "", 0, 1, init, loaded, connected, Set.of());
  }

  /** Since the call: entry at 1000, dial at 1600, answer at 1700. The nanoTime wraps around. */
  private static List<Entry> boot(AgentInfo marks) {
    return GuestMarks.boot(CALL, CALL + 1000, CALL + 1600, CALL + 1700, marks);
  }

  private static Entry entry(Stage stage, String part, long start, long nanos) {
    return Entry.of(stage, part, Duration.ofNanos(start), Duration.ofNanos(nanos));
  }

  @Test
  void theGuestsMarksAreSetBackFromTheDial() {
    // Its clock started 100 after its entry, and nobody needs to know.
    assertEquals(
        List.of(
            entry(Stage.BOOT, "kernel", 1000, 450),
            entry(Stage.BOOT, "modules", 1450, 100),
            entry(Stage.BOOT, "connect", 1550, 50),
            entry(Stage.BOOT, "answer", 1600, 100)),
        boot(marks(350, 450, 500)));
  }

  @ParameterizedTest
  @CsvSource({
    "350, 340, 500",
    "350, 510, 500",
    "0, 0, 601",
    "0, 0, 9223372036854775807",
    "9223372036854775807, 0, 0",
  })
  void marksThatCannotBeAreLeftOut(long init, long loaded, long connected) {
    assertEquals(List.of(), boot(marks(init, loaded, connected)));
  }

  @Test
  void stepsFollowEachOtherAsFarAsTheyFitTheirStage() {
    Entry stage = Entry.of(Stage.PREPARE, Duration.ofNanos(2000), Duration.ofNanos(100));
    List<Step> steps = List.of(new Step("a", 60), new Step("b", 40), new Step("c", Long.MAX_VALUE));
    assertEquals(
        List.of(entry(Stage.PREPARE, "a", 2000, 60), entry(Stage.PREPARE, "b", 2060, 40)),
        GuestMarks.prepare(stage, steps));
  }
}
