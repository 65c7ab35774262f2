// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

import java.net.InetAddress;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Objects;

/**
 * What happens in a sandbox's network: connections and UDP sessions ("flows") that are allowed,
 * denied and ended, and questions to the resolver. At most 100 a second are told, and then how many
 * were not. They say whom the sandbox talks to, and never what: no payload, no path of a request,
 * no header.
 *
 * <p>Later versions may have events of more kinds, which is why a {@code switch} needs a default.
 * Those that there are get no more components. Immutable.
 */
public sealed interface NetworkEvent {
  /** The sandbox's identifier, which no other sandbox has. */
  String sandboxId();

  /** When it happened, by the host's wall clock. */
  Instant time();

  /** Who began a flow. More may be added: a {@code switch} has a default. */
  enum Direction {
    /** The sandbox. */
    OUTBOUND,
    /** Somebody who connected to a published port. */
    INBOUND
  }

  /** How a flow ended. More may be added: a {@code switch} has a default. */
  enum End {
    /** Both sides said that they were done; of UDP, nothing was sent for its idle time. */
    FINISHED,
    /** The sandbox reset it. */
    RESET_BY_SANDBOX,
    /** The other side reset it. */
    RESET_BY_PEER,
    /** The policy was changed, or what was sent was not allowed. */
    DENIED,
    /** The sandbox's network ended or began anew, or its memory was restored. */
    NETWORK_ENDED,
    /** One side took nothing for too long. */
    STALLED,
    /** The host had an error of its own with it. */
    FAILED
  }

  /**
   * A flow, as its events name it.
   *
   * @param number which no other flow of this network has
   * @param transport what carries it
   * @param direction who began it
   * @param remote the address on the other side
   * @param port on the other side; 0 of {@link Transport#ECHO}
   * @param guestPort the published port; 0 of an outbound flow
   */
  record Flow(
      long number,
      Transport transport,
      Direction direction,
      InetAddress remote,
      int port,
      int guestPort) {
    /** Checks that nothing is null. */
    public Flow {
      Objects.requireNonNull(transport);
      Objects.requireNonNull(direction);
      Objects.requireNonNull(remote);
    }
  }

  /**
   * A flow was allowed, and is connected.
   *
   * @param flow which
   * @param rule {@link Egress#name()}, or the published port
   * @param names that the sandbox asked for and that the rule goes by; none of a rule by address
   */
  record FlowAllowed(String sandboxId, Instant time, Flow flow, String rule, List<String> names)
      implements NetworkEvent {
    /** Copies the names. */
    public FlowAllowed {
      names = List.copyOf(names);
    }
  }

  /**
   * A flow was denied: at its beginning, or when what it sent was looked at.
   *
   * @param flow which
   * @param reason why
   * @param rule {@link Egress#name()} of the deny rule, or of the one by which it was looked at;
   *     empty where no rule has to do with it
   * @param names that the sandbox was told this address for
   * @param said the SNI or the Host that it named; empty where it was not looked at, or is no name
   */
  record FlowDenied(
      String sandboxId,
      Instant time,
      Flow flow,
      DenialReason reason,
      String rule,
      List<String> names,
      String said)
      implements NetworkEvent {
    /** Copies the names. */
    public FlowDenied {
      names = List.copyOf(names);
    }
  }

  /**
   * An allowed flow could not be connected.
   *
   * @param flow which
   * @param failure in words
   */
  record FlowFailed(String sandboxId, Instant time, Flow flow, String failure)
      implements NetworkEvent {}

  /**
   * A flow that was allowed is over.
   *
   * @param flow which
   * @param sent bytes that left the sandbox
   * @param received bytes that reached it
   * @param duration since it was connected
   * @param end how
   */
  record FlowEnded(
      String sandboxId,
      Instant time,
      Flow flow,
      long sent,
      long received,
      Duration duration,
      End end)
      implements NetworkEvent {}

  /**
   * The sandbox was told a name's addresses.
   *
   * @param name in lower case
   * @param addresses those that it was told; none where it has none
   */
  record NameResolved(String sandboxId, Instant time, String name, List<InetAddress> addresses)
      implements NetworkEvent {
    /** Copies the addresses. */
    public NameResolved {
      addresses = List.copyOf(addresses);
    }
  }

  /**
   * The sandbox was not told what it asked for.
   *
   * @param name in lower case; a name that is none has its other characters escaped
   * @param type of the records, by its number in DNS
   * @param reason why
   */
  record NameDenied(String sandboxId, Instant time, String name, int type, DenialReason reason)
      implements NetworkEvent {}

  /**
   * The sandbox was not told what it may ask for, as no name server answered.
   *
   * @param name in lower case
   * @param type of the records, by its number in DNS
   * @param failure in words
   */
  record NameFailed(String sandboxId, Instant time, String name, int type, String failure)
      implements NetworkEvent {}

  /**
   * Something waited, was refused or dropped because of a limit.
   *
   * @param limit which
   * @param times how often, since the last time that this was told: once a second at most
   */
  record LimitReached(String sandboxId, Instant time, Limit limit, long times)
      implements NetworkEvent {}

  /** Limits that are told of. More may be added: a {@code switch} has a default. */
  enum Limit {
    /** {@link NetworkLimits#flows()} */
    FLOWS,
    /** {@link NetworkLimits#pendingFlows()} */
    PENDING_FLOWS,
    /** {@link NetworkLimits#opens()} */
    OPENS,
    /** {@link NetworkLimits#udpSessions()} */
    UDP_SESSIONS,
    /** {@link NetworkLimits#dnsQueries()} */
    DNS_QUERIES,
    /** The host had no file descriptor left. */
    HOST_DESCRIPTORS,
    /**
     * What the sandbox had sent and its receivers did not take was more than the host keeps: 16 MiB
     * of a sandbox, and of all an eighth of the heap. The connection is reset.
     */
    MEMORY
  }

  /**
   * The network has ended, with all flows, while the sandbox goes on.
   *
   * @param reason in words; what the sandbox did wrong, where it did
   */
  record LinkLost(String sandboxId, Instant time, String reason) implements NetworkEvent {}

  /**
   * More happened than is told.
   *
   * @param count how many events are not told
   */
  record EventsLost(String sandboxId, Instant time, long count) implements NetworkEvent {}
}
