// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What the guest's kernel said when it crashed.
 *
 * @param crashLog the end of its log, as it wrote it
 */
public record CrashReport(@Nullable String crashLog) {
  private static final String PANIC = "Kernel panic";

  /** Characters of a line of the log that are told. */
  private static final int MOST = 200;

  /**
   * Reads one.
   *
   * @throws DocumentException when that is no such document
   */
  public static CrashReport parse(String document) {
    return Json.read(document, CrashReport.class);
  }

  /**
   * The line of a report that says most: the one of the panic, or else the last. It is the guest's:
   * without control characters, and not long.
   *
   * @param document a CrashReport document
   * @return null where there is no such line, or the document is none
   */
  public static @Nullable String lastWords(@Nullable String document) {
    String log;
    try {
      log = document == null ? null : parse(document).crashLog;
    } catch (DocumentException e) {
      log = null;
    }
    if (log == null) {
      return null;
    }
    List<String> lines =
        log.lines().map(CrashReport::printable).filter(line -> !line.isEmpty()).toList();
    return lines.stream()
        .filter(line -> line.contains(PANIC))
        .findFirst()
        .orElse(lines.isEmpty() ? null : lines.get(lines.size() - 1));
  }

  private static String printable(String line) {
    return line.codePoints()
        .filter(c -> !Character.isISOControl(c))
        .limit(MOST)
        .mapToObj(Character::toString)
        .collect(Collectors.joining())
        .strip();
  }
}
