// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.NacelleException;
import java.io.EOFException;

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

  /**
   * What could not be unpacked. Whatever the libraries make of damaged content: they throw
   * exceptions of both kinds.
   *
   * @param what it is
   */
  static KernelException damaged(String what, String remedy, Exception failure) {
    return new KernelException(
        KernelException.Reason.DAMAGED,
        what
            + " could not be unpacked: "
            + (failure instanceof EOFException ? "it ends too early" : failure.getMessage()),
        remedy,
        failure);
  }
}
