// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

/** What ends the link: the other side sent what it must not. */
final class FrameException extends Exception {
  private static final long serialVersionUID = 1;

  /** What it did. */
  enum Violation {
    /** The first frame is no HELLO. */
    NO_HELLO,
    /** There was a HELLO already. */
    SECOND_HELLO,
    /** It speaks another version. */
    OTHER_VERSION,
    /** There is no such type. */
    UNKNOWN_TYPE,
    /** The type is for the other direction. */
    WRONG_DIRECTION,
    /** A reserved bit is not 0. */
    RESERVED_BITS,
    /** The length is more than the type's, or than was agreed on. */
    TOO_LONG,
    /** The length is less than the type's. */
    TOO_SHORT,
    /** The flow's number is not of the kind that the type takes. */
    WRONG_FLOW,
    /** A flow is opened with a number that is not above all before. */
    FLOW_REUSED,
    /** The flow was never opened. */
    UNKNOWN_FLOW,
    /** The flow is not connected, or this side of it has ended. */
    NOT_OPEN,
    /** An answer to what was not asked. */
    NOT_ASKED,
    /** A field has a value that it cannot have. */
    WRONG_VALUE,
    /** More DATA than the credit of its flow. */
    OVER_CREDIT,
    /** More CREDIT than the largest window. */
    TOO_MUCH_CREDIT
  }

  private final Violation violation;

  FrameException(Violation violation, String what) {
    // A guest may cause any number of them.
    super(what + ": " + violation, null, false, false);
    this.violation = violation;
  }

  Violation violation() {
    return violation;
  }
}
