// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/**
 * What isolations find on a machine.
 *
 * @param cache of Nacelle: images and kernels
 * @param work a directory for what instances write, best in memory
 * @param programs of peers, by their names, where a user names them
 * @param patience for a start; long, where the machine is emulated
 */
public record Setting(Path cache, Path work, Map<String, Path> programs, Duration patience) {
  /** Copies the programs. */
  public Setting {
    programs = Map.copyOf(programs);
  }
}
