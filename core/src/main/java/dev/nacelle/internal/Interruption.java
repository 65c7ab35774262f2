// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import dev.nacelle.InterruptedOperationException;
import dev.nacelle.Stage;
import java.io.IOException;

/** Tells a thread's interrupt from what it made fail. */
public final class Interruption {
  private Interruption() {}

  /**
   * Returns where the calling thread is not interrupted.
   *
   * @param doing what it was doing, such as "making the image X ready"
   * @param failure of that
   * @throws InterruptedOperationException when it is, which will have made that fail
   */
  public static void rethrow(Stage stage, String doing, IOException failure) {
    if (Thread.currentThread().isInterrupted()) {
      InterruptedException interrupted = new InterruptedException(failure.getMessage());
      interrupted.initCause(failure);
      throw new InterruptedOperationException(stage, "interrupted while " + doing, interrupted);
    }
  }
}
