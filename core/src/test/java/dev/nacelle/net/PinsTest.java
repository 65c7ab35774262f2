// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.check.Ip;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PinsTest {
  private static final Ip ONE = ip("192.0.2.1");
  private static final Ip TWO = ip("192.0.2.2");
  private static final long SECOND = 1_000_000_000L;

  /** Wraps around in every test. */
  private long now = Long.MAX_VALUE - SECOND;

  private final Pins pins = new Pins(() -> now, 3);

  private List<String> names(Ip address) {
    return pins.of(address).stream().map(Pins.Pin::name).toList();
  }

  @ParameterizedTest
  @CsvSource({
    "0, 360",
    "59, 360",
    "60, 360",
    "61, 361",
    "3599, 3899",
    "3600, 3900",
    "4294967295, 3900"
  })
  void aPinLivesAsLongAsTheAnswerWithinBoundsAndTheGrace(long ttl, long seconds) {
    assertTrue(pins.pin("a", ONE, ttl));
    now += seconds * SECOND - 1;
    assertEquals(List.of("a"), names(ONE));
    assertEquals(List.of(ONE), pins.of("a"));
    now++;
    assertEquals(List.of(), names(ONE));
    assertEquals(List.of(), pins.of("a"));
  }

  @Test
  void anAddressHasManyNamesAndANameManyAddresses() {
    pins.pin("a", ONE, 60);
    pins.pin("b", ONE, 60);
    pins.pin("a", TWO, 60);
    assertEquals(List.of("a", "b"), names(ONE));
    assertEquals(List.of("a"), names(TWO));
    assertEquals(2, pins.of("a").size());
    assertEquals(List.of(), names(ip("192.0.2.3")));
  }

  @Test
  void aLaterAnswerMakesItLiveLongerAndNeverShorter() {
    pins.pin("a", ONE, 3600);
    pins.pin("a", ONE, 60);
    assertEquals(1, pins.size());
    now += 3899 * SECOND;
    assertEquals(List.of("a"), names(ONE));
    pins.pin("a", ONE, 60);
    now += 359 * SECOND;
    assertEquals(List.of("a"), names(ONE));
  }

  @Test
  void itLivesAsLongAsAFlowLivesByIt() {
    pins.pin("a", ONE, 60);
    Pins.Pin pin = pins.of(ONE).get(0);
    pin.hold();
    pin.hold();
    pin.release();
    now += 100_000 * SECOND;
    assertEquals(List.of("a"), names(ONE));
    pin.release();
    assertEquals(List.of(), names(ONE));
    assertThrows(IllegalStateException.class, pin::release);
  }

  @Test
  void whereThereIsNoRoomTheExpiredGoAndThenTheFirstToExpire() {
    pins.pin("long", ONE, 3000);
    pins.pin("short", ONE, 60);
    pins.pin("middle", TWO, 600);
    assertTrue(pins.pin("new", TWO, 900));
    assertEquals(3, pins.size());
    assertEquals(List.of("long"), names(ONE));
    assertEquals(List.of("middle", "new"), names(TWO));
    now += 2000 * SECOND;
    assertTrue(pins.pin("newer", TWO, 60));
    assertEquals(2, pins.size());
    assertEquals(List.of("newer"), names(TWO));
  }

  @Test
  void ofManyAPartGoesAtATime() {
    Pins many = new Pins(() -> now, 160);
    for (int i = 0; i < 160; i++) {
      many.pin("a" + i, i % 2 == 0 ? ONE : TWO, 100 + i);
    }
    many.of(ONE).get(0).hold();
    assertTrue(many.pin("new", TWO, 3600));
    assertEquals(151, many.size());
    List<String> left = many.of(ONE).stream().map(Pins.Pin::name).toList();
    assertEquals("a0", left.get(0));
    assertEquals("a12", left.get(1));
    assertEquals("a11", many.of(TWO).get(0).name());
  }

  @Test
  void whatFlowsLiveByStaysAndThenThereIsNoRoom() {
    pins.pin("a", ONE, 60);
    pins.pin("b", ONE, 60);
    pins.pin("c", TWO, 60);
    pins.of(ONE).forEach(Pins.Pin::hold);
    Pins.Pin last = pins.of(TWO).get(0);
    last.hold();
    assertFalse(pins.pin("d", ONE, 3600));
    assertTrue(pins.pin("a", ONE, 3600), "which is there already");
    last.release();
    assertTrue(pins.pin("d", ONE, 3600));
    assertEquals(List.of("a", "b", "d"), names(ONE));
    assertEquals(List.of(), names(TWO));
  }

  @Test
  void anAddressHasSoManyNames() {
    Pins many = new Pins(() -> now, Pins.CAPACITY);
    many.pin("other", TWO, 60);
    many.pin("first", ONE, 60);
    for (int i = 1; i < Pins.NAMES_OF_AN_ADDRESS; i++) {
      assertTrue(many.pin("a" + i, ONE, 600));
    }
    assertTrue(many.pin("more", ONE, 600));
    List<String> names = many.of(ONE).stream().map(Pins.Pin::name).toList();
    assertEquals(Pins.NAMES_OF_AN_ADDRESS, names.size());
    assertFalse(names.contains("first"));
    assertEquals(1, many.of(TWO).size());
    many.of(ONE).forEach(Pins.Pin::hold);
    assertFalse(many.pin("late", ONE, 600));
    assertTrue(many.pin("late", TWO, 600));
  }
}
