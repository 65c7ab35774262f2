// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.nio.charset.StandardCharsets;

/**
 * What a command came to.
 *
 * @param exitCode 128 + n where signal n ended it
 * @param stdout what it wrote; not to be changed
 */
@SuppressWarnings("ArrayRecordComponent")
public record Output(int exitCode, byte[] stdout) {
  /** What it wrote, as UTF-8. */
  public String text() {
    return new String(stdout, StandardCharsets.UTF_8);
  }
}
