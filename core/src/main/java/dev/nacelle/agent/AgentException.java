// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import io.grpc.Status;
import java.nio.channels.ClosedChannelException;

/** A call to the guest agent failed. */
public final class AgentException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What the failure means for the caller. */
  public enum Kind {
    /** There is no connection with the agent any more; its machine has ended or is going to. */
    DISCONNECTED,
    /**
     * The workload cannot run anything any more, and the message says why; the machine is to end.
     */
    WORKLOAD_ENDED,
    /** The agent could not do it; the message is the agent's. */
    REFUSED,
    /** There is no such process, or it has ended. */
    NOT_FOUND,
    /** The agent did not do it in the time that it was given. */
    TIMED_OUT,
    /** The agent did not answer what it can answer at once. */
    NO_ANSWER,
    /** The agent neither started a process in time nor said why not. */
    START_TIMED_OUT,
    /** The agent answered what no agent may answer. */
    MISBEHAVED,
    /** The caller cancelled it. */
    CANCELLED;

    /** Whether it may be no more than a sign of the guest's end. */
    public boolean isBroken() {
      return this != REFUSED && this != NOT_FOUND;
    }
  }

  private final Kind kind;

  AgentException(Kind kind, String message, Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  AgentException(Kind kind, String message) {
    super(message);
    this.kind = kind;
  }

  /**
   * @param connected whether there is a connection: gRPC calls a lost one UNAVAILABLE, and so may a
   *     guest end a call over one that stands
   */
  static AgentException of(Status status, boolean connected) {
    Kind kind =
        switch (status.getCode()) {
          case UNAVAILABLE -> connected ? Kind.MISBEHAVED : Kind.DISCONNECTED;
          case NOT_FOUND -> Kind.NOT_FOUND;
          case DEADLINE_EXCEEDED -> Kind.TIMED_OUT;
          case CANCELLED -> Kind.CANCELLED;
          case ABORTED -> Kind.WORKLOAD_ENDED;
          case UNKNOWN -> ofUnknown(status);
          case RESOURCE_EXHAUSTED, INTERNAL, UNIMPLEMENTED, DATA_LOSS -> Kind.MISBEHAVED;
          default -> Kind.REFUSED;
        };
    String message = GuestText.clean(status.getDescription());
    return new AgentException(
        kind, message.isEmpty() ? status.getCode().name() : message, status.asRuntimeException());
  }

  /** gRPC says no more of a write to a connection that was closed just before. */
  private static Kind ofUnknown(Status status) {
    return status.getCause() instanceof ClosedChannelException ? Kind.DISCONNECTED : Kind.REFUSED;
  }

  /** What the failure means for the caller. */
  public Kind kind() {
    return kind;
  }
}
