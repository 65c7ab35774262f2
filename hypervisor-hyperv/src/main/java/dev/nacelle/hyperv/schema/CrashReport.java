// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import org.jspecify.annotations.Nullable;

/**
 * What the guest's kernel said when it crashed.
 *
 * @param crashLog the end of its log, as it wrote it
 */
public record CrashReport(@Nullable String crashLog) {
  /**
   * Reads one.
   *
   * @throws DocumentException when that is no such document
   */
  public static CrashReport parse(String document) {
    return Json.read(document, CrashReport.class);
  }
}
