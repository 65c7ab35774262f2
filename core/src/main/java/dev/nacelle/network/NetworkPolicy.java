// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

import dev.nacelle.internal.check.DomainNames;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Where a sandbox may connect to. Nothing is allowed that no rule allows, a deny rule wins over
 * every rule that allows the same, and the order of rules never matters. A deny rule by name wins
 * over what is allowed by name, and over the name's resolution; it does not close addresses that a
 * rule by address or {@link Egress#internet()} opens, since who knows them needs no name.
 * Immutable.
 *
 * <pre>{@code
 * NetworkPolicy.builder()
 *     .allow(Egress.https("packages.example.org", "*.example.com"))
 *     .allow(Egress.tcp("github.com", 22).named("git over ssh"))
 *     .allow(Egress.addresses("10.20.0.0/16").tcp(5432))
 *     .deny(Egress.addresses("10.20.7.0/24"))
 *     .limits(NetworkLimits.builder().egress(Rate.perSecond(10 << 20)).flows(256).build())
 *     .build()
 * }</pre>
 *
 * <p><b>Addresses</b> are of one of five classes. An IPv4 address that is written in one of IPv6
 * counts, too: mapped ({@code ::ffff:0:0/96}), for NAT64 ({@code 64:ff9b::/96}), 6to4 and Teredo.
 *
 * <ul>
 *   <li><i>Forbidden</i>, always: multicast, broadcast, the unspecified address, 240.0.0.0/4.
 *   <li><i>Metadata</i> of clouds, which hands out credentials: 169.254.169.254, 169.254.170.2,
 *       169.254.170.23, fd00:ec2::254, fd00:ec2::23, fd20:ce::254, 168.63.129.16, 100.100.100.200,
 *       192.0.0.192. Closed unless {@link Builder#allowMetadata}.
 *   <li>The <i>host</i>: loopback, and every address that it has. Closed, but for a {@link
 *       Builder#hostService service} by its name.
 *   <li><i>Private</i>: whatever else IANA's registries of special-purpose addresses have, and of
 *       IPv6 what is outside of 2000::/3. It takes a rule by address whose block is within such a
 *       range ({@code 10.0.0.0/8} is, {@code 0.0.0.0/0} is not), or a rule by name that {@link
 *       Egress.Names#mayBePrivate() may be private}.
 *   <li><i>Public</i>: all others.
 * </ul>
 *
 * <p><b>DNS</b>, which is port 53 of UDP and TCP, ends at the host, whichever resolver the sandbox
 * asks. It answers for names of rules by name, and for any name with {@link Egress#internet()}; of
 * others nothing is asked anywhere, and the sandbox is told that they do not exist. It answers with
 * addresses alone, those that the policy closes left out, and with {@linkplain Builder#dnsRecords
 * other records} where the policy says so. What it told is good for a rule by name as long as the
 * answer's time to live says, at least 60 seconds and at most an hour, and for 5 minutes more, and
 * as long as a connection lasts that was made by it. Two things remain: labels in front of a
 * wildcard's name reach that name's own servers, whatever a program writes into them, and where
 * other records are allowed their answers come back, so that a tunnel through TXT works there; and
 * with {@link Egress#internet()} DNS is no barrier.
 */
public final class NetworkPolicy {
  private static final int MAX_RULES = 1024;
  private static final int MAX_PARTS = 16_384;
  private static final int MAX_HOST_SERVICES = 250;
  private static final int DNS_PORT = 53;

  private static final NetworkPolicy NONE = new NetworkPolicy(new Builder(), false);
  private static final NetworkPolicy INTERNAL = builder().build();
  private static final NetworkPolicy INTERNET = builder().allow(Egress.internet()).build();

  private final boolean present;
  private final List<Egress> allowed;
  private final List<Egress> denied;
  private final boolean allowsMetadata;
  private final Map<String, InetSocketAddress> hostServices;
  private final @Nullable URI upstreamProxy;
  private final Set<DnsRecordType> dnsRecords;
  private final NetworkLimits limits;

  private NetworkPolicy(Builder builder, boolean present) {
    this.present = present;
    allowed = List.copyOf(builder.allowed);
    denied = List.copyOf(builder.denied);
    allowsMetadata = builder.allowsMetadata;
    hostServices = Collections.unmodifiableMap(new LinkedHashMap<>(builder.hostServices));
    upstreamProxy = builder.upstreamProxy;
    dnsRecords = Collections.unmodifiableSet(builder.dnsRecords.clone());
    limits = builder.limits;
  }

  /** No network at all: no interface but localhost. The default of a sandbox. */
  public static NetworkPolicy none() {
    return NONE;
  }

  /** A network that leads nowhere: there is an interface, and published ports work. */
  public static NetworkPolicy internal() {
    return INTERNAL;
  }

  /** Every public address: {@link Egress#internet()}. */
  public static NetworkPolicy internet() {
    return INTERNET;
  }

  /** {@link #internal()}, to be added to. */
  public static Builder builder() {
    return new Builder();
  }

  /** To make another that differs. From {@link #none()} it is {@link #builder()}. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** Whether there is no network at all. */
  public boolean isNone() {
    return !present;
  }

  /** What is allowed. */
  public List<Egress> allowed() {
    return allowed;
  }

  /** What is denied all the same. */
  public List<Egress> denied() {
    return denied;
  }

  /** Whether rules may be for metadata of clouds. */
  public boolean allowsMetadata() {
    return allowsMetadata;
  }

  /** Services of the host's, by their names, in the order in which they were given. */
  public Map<String, InetSocketAddress> hostServices() {
    return hostServices;
  }

  /** The proxy through which connections leave, where there is one. */
  public Optional<URI> upstreamProxy() {
    return Optional.ofNullable(upstreamProxy);
  }

  /** Records of DNS that may be asked for beside addresses. */
  public Set<DnsRecordType> dnsRecords() {
    return dnsRecords;
  }

  /** How much of it there is. */
  public NetworkLimits limits() {
    return limits;
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(
        present,
        Set.copyOf(allowed),
        Set.copyOf(denied),
        allowsMetadata,
        List.copyOf(hostServices.entrySet()),
        upstreamProxy,
        dnsRecords,
        limits);
  }

  /**
   * Whether the other says the same; the order of rules, and whether one is repeated, is not looked
   * at.
   */
  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof NetworkPolicy that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    if (!present) {
      return "no network";
    }
    return "allows "
        + allowed
        + ", denies "
        + denied
        + (allowsMetadata ? ", metadata" : "")
        + (hostServices.isEmpty() ? "" : ", host services " + hostServices.keySet())
        + (upstreamProxy == null ? "" : ", through " + upstreamProxy)
        + (dnsRecords.isEmpty() ? "" : ", records " + dnsRecords)
        + (limits.equals(NetworkLimits.DEFAULT) ? "" : ", limits: " + limits);
  }

  /**
   * Makes a {@link NetworkPolicy}. Not safe for use from several threads. What is optional is taken
   * back by null.
   */
  public static final class Builder {
    private final List<Egress> allowed = new ArrayList<>();
    private final List<Egress> denied = new ArrayList<>();
    private boolean allowsMetadata;
    private final Map<String, InetSocketAddress> hostServices = new LinkedHashMap<>();
    private @Nullable URI upstreamProxy;
    private final EnumSet<DnsRecordType> dnsRecords = EnumSet.noneOf(DnsRecordType.class);
    private NetworkLimits limits = NetworkLimits.DEFAULT;

    private Builder() {}

    private Builder(NetworkPolicy policy) {
      allowed.addAll(policy.allowed);
      denied.addAll(policy.denied);
      allowsMetadata = policy.allowsMetadata;
      hostServices.putAll(policy.hostServices);
      upstreamProxy = policy.upstreamProxy;
      dnsRecords.addAll(policy.dnsRecords);
      limits = policy.limits;
    }

    /** Allows what a rule is for, beside what others allow. */
    public Builder allow(Egress rule) {
      allowed.add(Objects.requireNonNull(rule));
      return this;
    }

    /**
     * Denies what a rule is for. One by address wins over whatever allows that address. One by name
     * wins over rules by name, and the name is not resolved where it is denied on all ports on
     * which a rule by name allows it, or where {@link Egress#internet()} alone would have it
     * resolved. That keeps out who asks for the name; it is no barrier against who has the address
     * from elsewhere and is allowed it by address, as with {@link Egress#internet()}: deny
     * addresses there.
     *
     * @throws IllegalArgumentException when it is {@link Egress#internet()}
     */
    public Builder deny(Egress rule) {
      if (Objects.requireNonNull(rule) instanceof Egress.Internet) {
        throw new IllegalArgumentException(
            "the internet is denied by not allowing it; what is not allowed is denied");
      }
      denied.add(rule);
      return this;
    }

    /**
     * Whether rules may be for metadata of clouds. It allows nothing by itself: add a rule by
     * address, such as {@code Egress.addresses("169.254.169.254").tcp(80)}, or by a name that may
     * be private. The default is false.
     */
    public Builder allowMetadata(boolean allowed) {
      allowsMetadata = allowed;
      return this;
    }

    /**
     * Lets the sandbox reach one port of TCP on the host, or wherever the host connects to, as
     * {@code name.host.internal} on the same port. The name resolves to an address of the sandbox's
     * network; the true one stays closed.
     *
     * @param name a label, such as {@code db}
     * @param address of the service; with an address, not with a name to be resolved
     * @throws IllegalArgumentException when it is no label, or no address and port that can be
     *     connected to, or port 53, at which every address is the resolver
     */
    public Builder hostService(String name, InetSocketAddress address) {
      InetAddress ip = address.getAddress();
      if (ip == null) {
        throw new IllegalArgumentException(
            "the service '" + name + "' is not at an address, but at " + address.getHostString());
      }
      if (ip.isAnyLocalAddress() || ip.isMulticastAddress() || address.getPort() == 0) {
        throw new IllegalArgumentException(
            "nobody can connect to " + ip.getHostAddress() + " port " + address.getPort());
      }
      if (address.getPort() == DNS_PORT) {
        throw new IllegalArgumentException(
            "port 53 is the resolver's of the sandbox, whatever the address");
      }
      hostServices.put(DomainNames.label("service's name", name), address);
      return this;
    }

    /** Takes a service of the host's back. */
    public Builder removeHostService(String name) {
      hostServices.remove(DomainNames.label("service's name", name));
      return this;
    }

    /**
     * Opens TCP connections that leave through an HTTP proxy, by CONNECT with the address that the
     * sandbox connects to; connections to private addresses and to services of the host's are made
     * without it. UDP cannot go through it: to public addresses it is denied ({@link
     * DenialReason#PROXY}), unless a rule names UDP itself, as {@link Egress#udp(String, int)} and
     * {@link Egress.Addresses#udp(int)} do, and then leaves without it. A change of the proxy by
     * {@code SandboxNetwork.update} ends connections that left otherwise. Names are resolved by the
     * host, the proxy's own when the policy is set. By default there is none.
     *
     * @param proxy such as {@code http://proxy.example.com:3128}
     * @throws IllegalArgumentException when it is no such address, or has a user, a path or the
     *     like
     */
    public Builder upstreamProxy(@Nullable URI proxy) {
      if (proxy != null) {
        if (proxy.getRawUserInfo() != null) {
          // Not told: it has a password.
          throw new IllegalArgumentException("a proxy that asks for a user cannot be had");
        }
        boolean plain =
            "http".equalsIgnoreCase(proxy.getScheme())
                && proxy.getHost() != null
                && proxy.getPort() > 0
                && proxy.getPort() <= 65_535
                && (proxy.getRawPath().isEmpty() || proxy.getRawPath().equals("/"))
                && proxy.getRawQuery() == null
                && proxy.getRawFragment() == null;
        if (!plain) {
          throw new IllegalArgumentException("a proxy is http://HOST:PORT, not " + proxy);
        }
      }
      upstreamProxy = proxy;
      return this;
    }

    /**
     * Records of DNS that may be asked for beside addresses, of names that may be; none by default.
     * With a rule for {@code *.example.com} they let that domain's servers exchange anything with
     * the sandbox. In place of what was given before.
     */
    public Builder dnsRecords(DnsRecordType... types) {
      return dnsRecords(List.of(types));
    }

    /** As {@link #dnsRecords(DnsRecordType...)}. */
    public Builder dnsRecords(List<DnsRecordType> types) {
      List<DnsRecordType> copy = List.copyOf(types);
      dnsRecords.clear();
      dnsRecords.addAll(copy);
      return this;
    }

    /** How much of it there is; by default {@link NetworkLimits#DEFAULT}. */
    public Builder limits(NetworkLimits limits) {
      this.limits = Objects.requireNonNull(limits);
      return this;
    }

    /**
     * The policy as described so far.
     *
     * @throws IllegalArgumentException when there are more than 1024 rules, more than 16384 names
     *     and blocks in them, or more than 250 services of the host's
     */
    public NetworkPolicy build() {
      atMost("rules", (long) allowed.size() + denied.size(), MAX_RULES);
      atMost("names and blocks in its rules", parts(allowed) + parts(denied), MAX_PARTS);
      atMost("services of the host's", hostServices.size(), MAX_HOST_SERVICES);
      return new NetworkPolicy(this, true);
    }

    private static long parts(List<Egress> rules) {
      long parts = 0;
      for (Egress rule : rules) {
        if (rule instanceof Egress.Names names) {
          parts += names.patterns().size();
        } else if (rule instanceof Egress.Addresses addresses) {
          parts += addresses.blocks().size();
        }
      }
      return parts;
    }

    private static void atMost(String what, long count, int most) {
      if (count > most) {
        throw new IllegalArgumentException(
            "a policy has at most " + most + " " + what + ", not " + count);
      }
    }
  }
}
