// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Counters of a sandbox's network, since it began, at one moment. Immutable. */
public final class NetworkStatistics {
  private final long sent;
  private final long received;
  private final long opened;
  private final int openFlows;
  private final int openUdpSessions;
  private final long failed;
  private final Map<DenialReason, Long> denied;
  private final long dnsQueries;
  private final Map<DenialReason, Long> dnsDenied;
  private final long datagramsDropped;
  private final long eventsLost;
  private final long linksLost;
  private final Map<String, RuleUse> rules;

  private NetworkStatistics(Builder builder) {
    sent = builder.sent;
    received = builder.received;
    opened = builder.opened;
    openFlows = builder.openFlows;
    openUdpSessions = builder.openUdpSessions;
    failed = builder.failed;
    denied = builder.denied;
    dnsQueries = builder.dnsQueries;
    dnsDenied = builder.dnsDenied;
    datagramsDropped = builder.datagramsDropped;
    eventsLost = builder.eventsLost;
    linksLost = builder.linksLost;
    rules = builder.rules;
  }

  /** One that has counted nothing. */
  public static Builder builder() {
    return new Builder();
  }

  /** Bytes that left the sandbox, as its programs sent them. */
  public long sent() {
    return sent;
  }

  /** Bytes that reached the sandbox, as its programs receive them. */
  public long received() {
    return received;
  }

  /** Flows that were allowed and connected: TCP connections and UDP sessions. */
  public long opened() {
    return opened;
  }

  /** TCP connections that are there now. */
  public int openFlows() {
    return openFlows;
  }

  /** UDP sessions that are there now. */
  public int openUdpSessions() {
    return openUdpSessions;
  }

  /** Flows that were allowed and could not be connected. */
  public long failed() {
    return failed;
  }

  /** Flows that were denied, by reason; reasons that were not given are absent. */
  public Map<DenialReason, Long> denied() {
    return denied;
  }

  /** Questions to the resolver, answered or not. */
  public long dnsQueries() {
    return dnsQueries;
  }

  /** Questions that were not answered, by reason; reasons that were not given are absent. */
  public Map<DenialReason, Long> dnsDenied() {
    return dnsDenied;
  }

  /** Datagrams for which there was no room. */
  public long datagramsDropped() {
    return datagramsDropped;
  }

  /** {@link NetworkEvent Events} that no listener was told. */
  public long eventsLost() {
    return eventsLost;
  }

  /** How often the network ended while the sandbox went on. */
  public long linksLost() {
    return linksLost;
  }

  /** By {@link Egress#name()}; rules that nothing was for are absent. */
  public Map<String, RuleUse> rules() {
    return rules;
  }

  private List<Object> state() {
    return List.of(
        sent,
        received,
        opened,
        openFlows,
        openUdpSessions,
        failed,
        denied,
        dnsQueries,
        dnsDenied,
        datagramsDropped,
        eventsLost,
        linksLost,
        rules);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof NetworkStatistics that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "sent "
        + sent
        + " bytes, received "
        + received
        + "; "
        + opened
        + " flows, "
        + openFlows
        + " open, denied "
        + denied
        + "; "
        + dnsQueries
        + " DNS queries, denied "
        + dnsDenied;
  }

  /**
   * What went by one rule.
   *
   * @param flows that it allowed, or denied
   * @param sent bytes that left the sandbox
   * @param received bytes that reached it
   */
  public record RuleUse(long flows, long sent, long received) {}

  /** Makes one, for tests of programs. Not safe for use from several threads. */
  public static final class Builder {
    private long sent;
    private long received;
    private long opened;
    private int openFlows;
    private int openUdpSessions;
    private long failed;
    private Map<DenialReason, Long> denied = Map.of();
    private long dnsQueries;
    private Map<DenialReason, Long> dnsDenied = Map.of();
    private long datagramsDropped;
    private long eventsLost;
    private long linksLost;
    private Map<String, RuleUse> rules = Map.of();

    private Builder() {}

    /** {@link NetworkStatistics#sent()}, in bytes. */
    public Builder sent(long bytes) {
      sent = bytes;
      return this;
    }

    /** {@link NetworkStatistics#received()}, in bytes. */
    public Builder received(long bytes) {
      received = bytes;
      return this;
    }

    /** {@link NetworkStatistics#opened()}. */
    public Builder opened(long count) {
      opened = count;
      return this;
    }

    /** {@link NetworkStatistics#openFlows()}. */
    public Builder openFlows(int count) {
      openFlows = count;
      return this;
    }

    /** {@link NetworkStatistics#openUdpSessions()}. */
    public Builder openUdpSessions(int count) {
      openUdpSessions = count;
      return this;
    }

    /** {@link NetworkStatistics#failed()}. */
    public Builder failed(long count) {
      failed = count;
      return this;
    }

    /** {@link NetworkStatistics#denied()}; copies the map. */
    public Builder denied(Map<DenialReason, Long> counts) {
      denied = copy(counts);
      return this;
    }

    /** {@link NetworkStatistics#dnsQueries()}. */
    public Builder dnsQueries(long count) {
      dnsQueries = count;
      return this;
    }

    /** {@link NetworkStatistics#dnsDenied()}; copies the map. */
    public Builder dnsDenied(Map<DenialReason, Long> counts) {
      dnsDenied = copy(counts);
      return this;
    }

    /** {@link NetworkStatistics#datagramsDropped()}. */
    public Builder datagramsDropped(long count) {
      datagramsDropped = count;
      return this;
    }

    /** {@link NetworkStatistics#eventsLost()}. */
    public Builder eventsLost(long count) {
      eventsLost = count;
      return this;
    }

    /** {@link NetworkStatistics#linksLost()}. */
    public Builder linksLost(long count) {
      linksLost = count;
      return this;
    }

    /** {@link NetworkStatistics#rules()}; copies the map. */
    public Builder rules(Map<String, RuleUse> uses) {
      rules = Map.copyOf(uses);
      return this;
    }

    private static Map<DenialReason, Long> copy(Map<DenialReason, Long> counts) {
      Map<DenialReason, Long> copy = new EnumMap<>(DenialReason.class);
      counts.forEach((reason, count) -> copy.put(reason, Objects.requireNonNull(count)));
      return Collections.unmodifiableMap(copy);
    }

    /** The value. */
    public NetworkStatistics build() {
      return new NetworkStatistics(this);
    }
  }
}
