// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * How much of the network a sandbox may have. What is beyond waits where it is bytes, and is
 * refused or dropped, and counted, where it is connections, questions or datagrams. Immutable.
 */
public final class NetworkLimits {
  /** As the builder has them. */
  public static final NetworkLimits DEFAULT = builder().build();

  /** The most connections, and UDP sessions, that can be allowed at a time: 65536. */
  public static final int MAXIMUM = 1 << 16;

  private static final Duration LONGEST = Duration.ofMinutes(10);

  private final @Nullable Rate egress;
  private final @Nullable Rate ingress;
  private final int flows;
  private final int pendingFlows;
  private final Rate opens;
  private final int udpSessions;
  private final Rate dnsQueries;
  private final Duration connectTimeout;

  private NetworkLimits(Builder builder) {
    egress = builder.egress;
    ingress = builder.ingress;
    flows = builder.flows;
    pendingFlows = builder.pendingFlows;
    opens = builder.opens;
    udpSessions = builder.udpSessions;
    dnsQueries = builder.dnsQueries;
    connectTimeout = builder.connectTimeout;
  }

  /** One with the defaults. */
  public static Builder builder() {
    return new Builder();
  }

  /** To make another that differs. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** Bytes per second that leave it, where they are limited. */
  public Optional<Rate> egress() {
    return Optional.ofNullable(egress);
  }

  /** Bytes per second that reach it, where they are limited. */
  public Optional<Rate> ingress() {
    return Optional.ofNullable(ingress);
  }

  /** TCP connections at a time. */
  public int flows() {
    return flows;
  }

  /** TCP connections that are being made, of those. */
  public int pendingFlows() {
    return pendingFlows;
  }

  /**
   * TCP connections and UDP sessions that are begun per second: so many by the sandbox, and so many
   * by others at its published ports.
   */
  public Rate opens() {
    return opens;
  }

  /** UDP sessions at a time. */
  public int udpSessions() {
    return udpSessions;
  }

  /** Questions per second to the resolver, which refuses more; at a time it has 64 of them. */
  public Rate dnsQueries() {
    return dnsQueries;
  }

  /** How long a server has to answer a connection. */
  public Duration connectTimeout() {
    return connectTimeout;
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(
        egress, ingress, flows, pendingFlows, opens, udpSessions, dnsQueries, connectTimeout);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof NetworkLimits that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return (egress == null ? "" : "egress " + egress + "; ")
        + (ingress == null ? "" : "ingress " + ingress + "; ")
        + flows
        + " flows, "
        + pendingFlows
        + " pending, opens "
        + opens
        + "; "
        + udpSessions
        + " UDP sessions; DNS queries "
        + dnsQueries
        + "; connect timeout "
        + connectTimeout;
  }

  /**
   * Makes {@link NetworkLimits}. Not safe for use from several threads. What is optional is taken
   * back by null.
   */
  public static final class Builder {
    private @Nullable Rate egress;
    private @Nullable Rate ingress;
    private int flows = 1024;
    private int pendingFlows = 128;
    private Rate opens = Rate.perSecond(200).withBurst(400);
    private int udpSessions = 256;
    private Rate dnsQueries = Rate.perSecond(50).withBurst(200);
    private Duration connectTimeout = Duration.ofSeconds(30);

    private Builder() {}

    private Builder(NetworkLimits limits) {
      egress = limits.egress;
      ingress = limits.ingress;
      flows = limits.flows;
      pendingFlows = limits.pendingFlows;
      opens = limits.opens;
      udpSessions = limits.udpSessions;
      dnsQueries = limits.dnsQueries;
      connectTimeout = limits.connectTimeout;
    }

    /** Bytes per second that leave it, of all its connections together; by default no limit. */
    public Builder egress(@Nullable Rate bytes) {
      egress = bytes;
      return this;
    }

    /** Bytes per second that reach it, of all its connections together; by default no limit. */
    public Builder ingress(@Nullable Rate bytes) {
      ingress = bytes;
      return this;
    }

    /**
     * TCP connections at a time, those of published ports among them; the default is 1024.
     *
     * @throws IllegalArgumentException when it is not 1 to {@link #MAXIMUM}
     */
    public Builder flows(int most) {
      flows = check("flows", most);
      return this;
    }

    /**
     * TCP connections of the sandbox's that wait for their server's answer; the default is 128. Of
     * those to a published port, 64 wait for the sandbox at a time.
     *
     * @throws IllegalArgumentException when it is not 1 to {@link #MAXIMUM}
     */
    public Builder pendingFlows(int most) {
      pendingFlows = check("pending flows", most);
      return this;
    }

    /**
     * TCP connections and UDP sessions begun; the default is 200 per second, 400 at once. Those
     * that others begin at all published ports together may be as many again, apart from the
     * sandbox's own: what is beyond is reset.
     */
    public Builder opens(Rate rate) {
      opens = Objects.requireNonNull(rate);
      return this;
    }

    /**
     * UDP sessions at a time, which are pairs of a port in the sandbox and a remote address and
     * port; the default is 256.
     *
     * @throws IllegalArgumentException when it is not 1 to {@link #MAXIMUM}
     */
    public Builder udpSessions(int most) {
      udpSessions = check("UDP sessions", most);
      return this;
    }

    /**
     * Questions to the resolver; the default is 50 per second, 200 at once. Apart from that, 64 are
     * asked at a time, over at most 32 connections where they come over TCP.
     */
    public Builder dnsQueries(Rate rate) {
      dnsQueries = Objects.requireNonNull(rate);
      return this;
    }

    /**
     * How long a server has to answer a connection; the default is 30 seconds.
     *
     * @throws IllegalArgumentException when it is not 1 ms to 10 minutes
     */
    public Builder connectTimeout(Duration timeout) {
      if (timeout.compareTo(Duration.ofMillis(1)) < 0 || timeout.compareTo(LONGEST) > 0) {
        throw new IllegalArgumentException(
            "the timeout of a connection is 1 ms to 10 minutes, not " + timeout);
      }
      connectTimeout = timeout;
      return this;
    }

    private static int check(String what, int value) {
      if (value < 1 || value > MAXIMUM) {
        throw new IllegalArgumentException(
            "a sandbox has 1 to " + MAXIMUM + " " + what + ", not " + value);
      }
      return value;
    }

    /** The limits as described so far. */
    public NetworkLimits build() {
      return new NetworkLimits(this);
    }
  }
}
