// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.internal.CacheDirectory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/**
 * What isolations find on a machine.
 *
 * @param cache of Nacelle: images and kernels
 * @param work a directory for what instances write, best in memory
 * @param programs of peers, by their names, where a user names them
 * @param patience for a start, and for each command; long, where the machine is emulated
 */
public record Setting(Path cache, Path work, Map<String, Path> programs, Duration patience) {
  /** Unless something else is set. */
  static final Duration PATIENCE = Duration.ofMinutes(2);

  private static final String PROGRAM = "nacelle.isolation.program.";

  /** Copies the programs. */
  public Setting {
    programs = Map.copyOf(programs);
  }

  /**
   * From system properties: {@code nacelle.isolation.cache}, {@code nacelle.isolation.work}, {@code
   * nacelle.isolation.patience} in seconds, and {@code nacelle.isolation.program.NAME}; by default
   * Nacelle's cache, the directory for temporary files, and two minutes.
   */
  public static Setting ofProperties() {
    Map<String, Path> programs = new HashMap<>();
    for (String property : System.getProperties().stringPropertyNames()) {
      if (property.startsWith(PROGRAM)) {
        programs.put(property.substring(PROGRAM.length()), Path.of(System.getProperty(property)));
      }
    }
    String cache = System.getProperty("nacelle.isolation.cache");
    return new Setting(
        cache == null ? CacheDirectory.ofThisUser() : Path.of(cache),
        Path.of(System.getProperty("nacelle.isolation.work", System.getProperty("java.io.tmpdir"))),
        programs,
        Duration.ofSeconds(Long.getLong("nacelle.isolation.patience", PATIENCE.toSeconds())));
  }
}
