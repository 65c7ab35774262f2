// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.NacelleException;
import org.jspecify.annotations.Nullable;

/** Failures that become others. */
final class Remedies {
  private Remedies() {}

  /** What was wrong, to be told with another remedy. */
  static String without(NacelleException failure) {
    String message = String.valueOf(failure.getMessage());
    @Nullable String remedy = failure.remedy();
    return remedy != null && message.endsWith(". " + remedy)
        ? message.substring(0, message.length() - remedy.length() - 2)
        : message;
  }
}
