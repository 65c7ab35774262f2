// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.network.DenialReason;
import java.io.IOException;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * One TCP connection of the guest's, as its link carries it. On the loop.
 *
 * <p>What the guest does wrong is a {@link FrameException}, which ends the link; what the other
 * side's socket does is an {@link IOException}, which ends the flow.
 */
abstract class Flow {
  /** As the link has it, unsigned. */
  final int id;

  final FlowInfo info;

  Flow(int id, FlowInfo info) {
    this.id = id;
    this.info = info;
  }

  /**
   * Whether the policy decides about it, and its events are told: of all but those to the sandbox's
   * resolver.
   */
  boolean isOfPolicy() {
    return true;
  }

  /** Whether both ends are connected. */
  abstract boolean isOpen();

  /** Bytes that left the guest by it. */
  abstract long sent();

  /** Bytes that reached the guest by it. */
  abstract long received();

  /** What the guest may send at once. */
  abstract int window();

  /** The name that the guest has sent last, where that is looked for; else empty. */
  abstract String said();

  /**
   * By what it is allowed from now on.
   *
   * @return why not, where what it has sent is not by that; else null
   */
  abstract @Nullable DenialReason decided(Decision decision);

  /** What it holds back may be otherwise now that it was {@linkplain #decided decided} anew. */
  void lookAgain() {
    // It holds nothing back.
  }

  /**
   * The guest has accepted it; of no other than those that it was asked to accept.
   *
   * @param window that it takes at once
   */
  abstract void accepted(int window) throws FrameException, IOException;

  /** Part of what the guest sends; all of it is taken. */
  abstract void data(ByteBuffer bytes) throws FrameException, IOException;

  /** The guest sends no more. */
  abstract void fin() throws FrameException, IOException;

  /** The guest takes more. */
  abstract void credit(int amount) throws FrameException;

  /** There is room on the link, which there was not. */
  abstract void hasRoom();

  /** Ends it without a word to the guest; of no effect when it has ended. */
  abstract void close(boolean abruptly);

  @Override
  public final String toString() {
    return Integer.toUnsignedString(id);
  }
}
