// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.FrameException.Violation;
import dev.nacelle.network.DenialReason;
import java.net.ConnectException;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** A connection to a port of the guest's that only asks whether somebody accepts there. */
final class ProbeFlow extends Flow {
  private final CompletableFuture<Void> answer;

  ProbeFlow(int id, FlowInfo info, CompletableFuture<Void> answer) {
    super(id, info);
    this.answer = answer;
  }

  @Override
  boolean isOpen() {
    return false;
  }

  @Override
  long sent() {
    return 0;
  }

  @Override
  long received() {
    return 0;
  }

  @Override
  int window() {
    return 1;
  }

  @Override
  String said() {
    return "";
  }

  @Override
  @Nullable DenialReason decided(Decision decision) {
    return null;
  }

  @Override
  void accepted(int window) {
    answer.complete(null);
  }

  @Override
  void data(ByteBuffer bytes) throws FrameException {
    throw new FrameException(Violation.NOT_OPEN, "DATA of flow " + this);
  }

  @Override
  void fin() throws FrameException {
    throw new FrameException(Violation.NOT_OPEN, "FIN of flow " + this);
  }

  @Override
  void credit(int amount) throws FrameException {
    throw new FrameException(Violation.NOT_OPEN, "CREDIT of flow " + this);
  }

  @Override
  void hasRoom() {
    // It does not wait for any.
  }

  @Override
  void close(boolean abruptly) {
    answer.completeExceptionally(
        new ConnectException("nobody in the sandbox accepts on port " + info.guestPort));
  }
}
