// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;

/**
 * Which addresses a sandbox was told for which names, and until when that counts: for the answer's
 * time to live, at least 60 s and at most an hour, and 5 minutes more, for programs keep what they
 * were told; and as long as a flow lives by it. Not safe for use from several threads.
 *
 * <p>Holds so many pairs and no more. Where there is no room, what has expired goes, then the part
 * that would expire first; what a flow lives by stays.
 */
final class Pins {
  static final int CAPACITY = 4096;

  /** All are looked at when a flow to that address begins. */
  static final int NAMES_OF_AN_ADDRESS = 256;

  /** Of all pairs, what goes at a time, for all are looked at to find it. */
  private static final int PART = 16;

  private static final long SECOND = 1_000_000_000L;
  private static final long SHORTEST_SECONDS = 60;

  /** Nor is a guest to be told a longer one, lest it keep an address for longer than its pin. */
  static final long LONGEST_SECONDS = 3600;

  private static final long GRACE_SECONDS = 300;

  private final LongSupplier nanoTime;
  private final int capacity;
  private final Map<Ip, List<Pin>> pins = new HashMap<>();
  private int size;

  /**
   * @param nanoTime as {@link System#nanoTime()}
   * @param capacity pairs of a name and an address, at least 1
   */
  Pins(LongSupplier nanoTime, int capacity) {
    if (capacity < 1) {
      throw new IllegalArgumentException("no room for a pin: " + capacity);
    }
    this.nanoTime = nanoTime;
    this.capacity = capacity;
  }

  /** A name and one of its addresses. */
  static final class Pin {
    private final String name;
    private final Ip address;
    private long expiresAt;
    private int flows;

    private Pin(String name, Ip address, long expiresAt) {
      this.name = name;
      this.address = address;
      this.expiresAt = expiresAt;
    }

    String name() {
      return name;
    }

    Ip address() {
      return address;
    }

    /** A flow lives by it, until {@link #release()}. */
    void hold() {
      flows++;
    }

    /**
     * A flow that lived by it has ended.
     *
     * @throws IllegalStateException when none did
     */
    void release() {
      if (flows == 0) {
        throw new IllegalStateException("no flow lives by " + name + " at " + address);
      }
      flows--;
    }

    private boolean isOver(long now) {
      return flows == 0 && now - expiresAt >= 0;
    }
  }

  /**
   * Before the sandbox is told.
   *
   * @param name in its canonical form
   * @param ttlSeconds of the answer, by which a pin that is there lives longer, and never shorter
   * @return false when there is no room, so that it must not be told
   */
  boolean pin(String name, Ip address, long ttlSeconds) {
    long now = nanoTime.getAsLong();
    long seconds = Math.min(Math.max(ttlSeconds, SHORTEST_SECONDS), LONGEST_SECONDS);
    long expiresAt = now + (seconds + GRACE_SECONDS) * SECOND;
    List<Pin> names = pins.getOrDefault(address, List.of());
    for (Pin there : names) {
      if (there.name.equals(name)) {
        there.expiresAt = there.expiresAt - expiresAt < 0 ? expiresAt : there.expiresAt;
        return true;
      }
    }
    if (names.size() == NAMES_OF_AN_ADDRESS && !makeRoom(List.of(names), 1, now)
        || size == capacity && !makeRoom(pins.values(), Math.max(1, capacity / PART), now)) {
      return false;
    }
    pins.computeIfAbsent(address, unused -> new ArrayList<>(1))
        .add(new Pin(name, address, expiresAt));
    size++;
    return true;
  }

  /** What counts of an address now; the caller's own list. */
  List<Pin> of(Ip address) {
    List<Pin> all = pins.get(address);
    if (all == null) {
      return List.of();
    }
    long now = nanoTime.getAsLong();
    List<Pin> live = new ArrayList<>(all.size());
    for (Pin pin : all) {
      if (!pin.isOver(now)) {
        live.add(pin);
      }
    }
    return live;
  }

  /** What a name's addresses are now; for statistics and tests. */
  List<Ip> of(String name) {
    long now = nanoTime.getAsLong();
    return pins.values().stream()
        .flatMap(List::stream)
        .filter(pin -> pin.name.equals(name) && !pin.isOver(now))
        .map(pin -> pin.address)
        .toList();
  }

  /** Pairs that are kept, some of which may have expired. */
  int size() {
    return size;
  }

  /**
   * Takes away at least one of them, where no flow lives by it.
   *
   * @param most of those that have not expired
   */
  private boolean makeRoom(Collection<List<Pin>> among, int most, long now) {
    List<Pin> over = new ArrayList<>();
    List<Pin> free = new ArrayList<>();
    for (List<Pin> list : among) {
      for (Pin pin : list) {
        if (pin.isOver(now)) {
          over.add(pin);
        } else if (pin.flows == 0) {
          free.add(pin);
        }
      }
    }
    if (over.isEmpty()) {
      free.sort(Comparator.comparingLong(pin -> pin.expiresAt - now));
      over = free.subList(0, Math.min(most, free.size()));
    }
    over.forEach(this::remove);
    return !over.isEmpty();
  }

  private void remove(Pin pin) {
    pins.computeIfPresent(
        pin.address,
        (address, list) -> {
          list.remove(pin);
          return list.isEmpty() ? null : list;
        });
    size--;
  }
}
