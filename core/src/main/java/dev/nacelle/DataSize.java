// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An amount of memory or storage.
 *
 * @param bytes not negative
 */
public record DataSize(long bytes) implements Comparable<DataSize> {
  private static final Pattern TEXT = Pattern.compile("(\\d{1,19}) ?([A-Za-z]*)");

  /** Symbols of IEC 80000-13 (powers of 1024) and of the SI (powers of 1000). */
  private static final Map<String, Long> UNITS =
      Map.of(
          "", 1L,
          "B", 1L,
          "KiB", 1L << 10,
          "MiB", 1L << 20,
          "GiB", 1L << 30,
          "TiB", 1L << 40,
          "kB", 1_000L,
          "MB", 1_000_000L,
          "GB", 1_000_000_000L,
          "TB", 1_000_000_000_000L);

  private static final String[] BINARY = {"TiB", "GiB", "MiB", "KiB"};

  /**
   * Checks the sign.
   *
   * @throws IllegalArgumentException when it is negative
   */
  public DataSize {
    if (bytes < 0) {
      throw new IllegalArgumentException("a size is not negative: " + bytes);
    }
  }

  /** That many bytes. */
  public static DataSize bytes(long bytes) {
    return new DataSize(bytes);
  }

  /**
   * That many times 1024 bytes.
   *
   * @throws IllegalArgumentException when it is negative or does not fit 63 bits
   */
  public static DataSize kibibytes(long number) {
    return of(number, "KiB");
  }

  /**
   * That many times 1024² bytes.
   *
   * @throws IllegalArgumentException when it is negative or does not fit 63 bits
   */
  public static DataSize mebibytes(long number) {
    return of(number, "MiB");
  }

  /**
   * That many times 1024³ bytes.
   *
   * @throws IllegalArgumentException when it is negative or does not fit 63 bits
   */
  public static DataSize gibibytes(long number) {
    return of(number, "GiB");
  }

  /**
   * Reads a whole number with a unit: {@code "256MiB"}, {@code "1 GiB"}, {@code "500MB"}, {@code
   * "4096"}. Units are B, KiB, MiB, GiB, TiB (1024) and kB, MB, GB, TB (1000); letters like {@code
   * "256M"}, which mean 1024 to some tools and 1000 to others, are refused.
   *
   * @throws IllegalArgumentException when the text is nothing of that kind, or does not fit 63 bits
   */
  public static DataSize parse(String text) {
    Matcher matcher = TEXT.matcher(text);
    if (!matcher.matches() || !UNITS.containsKey(matcher.group(2))) {
      throw new IllegalArgumentException(
          "not a size: '"
              + text
              + "'; write a whole number and one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB");
    }
    try {
      return of(Long.parseLong(matcher.group(1)), matcher.group(2));
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("a size must fit 63 bits: '" + text + "'", e);
    }
  }

  private static DataSize of(long number, String unit) {
    try {
      return new DataSize(Math.multiplyExact(number, UNITS.getOrDefault(unit, 1L)));
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException("a size must fit 63 bits: " + number + " " + unit, e);
    }
  }

  @Override
  public int compareTo(DataSize other) {
    return Long.compare(bytes, other.bytes);
  }

  /** In the largest binary unit that states it exactly, as {@link #parse} reads it. */
  @Override
  public String toString() {
    for (String unit : BINARY) {
      long factor = UNITS.getOrDefault(unit, 1L);
      if (bytes != 0 && bytes % factor == 0) {
        return bytes / factor + unit;
      }
    }
    return bytes + "B";
  }
}
