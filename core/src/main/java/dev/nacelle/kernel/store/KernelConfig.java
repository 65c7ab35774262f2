// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The configuration a kernel was built with: the content of its {@code /boot/config-*}, or what
 * CONFIG_IKCONFIG embeds. Immutable and safe for use from several threads.
 */
public final class KernelConfig {
  /** Largest configuration that is read, in bytes; distributions' have 150 to 300 KB. */
  static final int MAX_SIZE = 4 << 20;

  private final String text;
  private volatile @Nullable Map<String, String> values;

  KernelConfig(String text) {
    this.text = text;
  }

  private Map<String, String> values() {
    Map<String, String> known = values;
    if (known == null) {
      known = parse(text);
      values = known;
    }
    return known;
  }

  private static Map<String, String> parse(String text) {
    Map<String, String> values = new HashMap<>();
    text.lines()
        .filter(line -> line.startsWith("CONFIG_"))
        .forEach(
            line -> {
              int equals = line.indexOf('=');
              if (equals > 0) {
                values.put(line.substring("CONFIG_".length(), equals), line.substring(equals + 1));
              }
            });
    return values;
  }

  /**
   * An option's value as it is written: {@code y}, {@code m}, a number, or a string with its
   * quotes.
   *
   * @param option with or without {@code CONFIG_} in front
   * @return empty when the option is not set, or unknown to this kernel
   */
  public Optional<String> value(String option) {
    return Optional.ofNullable(
        values().get(option.startsWith("CONFIG_") ? option.substring("CONFIG_".length()) : option));
  }

  /** The whole configuration, as the kernel's build wrote it. */
  public String text() {
    return text;
  }

  /** Whether the configuration has a line for that option, set or not. */
  boolean knows(String option) {
    return value(option).isPresent()
        || text.lines().anyMatch(("# CONFIG_" + option + " is not set")::equals);
  }

  /** Whether it is in the kernel itself. */
  public boolean isBuiltIn(String option) {
    return value(option).filter("y"::equals).isPresent();
  }

  boolean isModule(String option) {
    return value(option).filter("m"::equals).isPresent();
  }
}
