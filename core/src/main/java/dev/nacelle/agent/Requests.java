// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import io.grpc.ClientCall;
import java.util.concurrent.RejectedExecutionException;

/** Asks for what a call's guest has to say next. */
final class Requests {
  private Requests() {}

  /** Asks for one more message, from any thread; of no effect when the call's loop has ended. */
  static void one(ClientCall<?, ?> call) {
    try {
      call.request(1);
    } catch (RejectedExecutionException e) {
      // The call has ended before its loop did, and its listener knows.
    }
  }
}
