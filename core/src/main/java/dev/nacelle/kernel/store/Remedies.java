// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.NacelleException;

/** Failures that become others. */
final class Remedies {
  private Remedies() {}

  /** What was wrong, to be told with another remedy. */
  static String without(NacelleException failure) {
    String message = String.valueOf(failure.getMessage());
    return failure
        .remedy()
        .map(remedy -> ". " + remedy)
        .filter(message::endsWith)
        .map(end -> message.substring(0, message.length() - end.length()))
        .orElse(message);
  }
}
