// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Cidr;
import dev.nacelle.internal.check.Ip;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Who may connect to an address at all; each is stricter than those before it. An address in which
 * one of IPv4 is written has the stricter class of both.
 */
enum AddressClass {
  /** None of the others. */
  PUBLIC,
  /** Of IANA's registries of special-purpose addresses, or of IPv6 and outside of 2000::/3. */
  PRIVATE,
  /** Where clouds hand out credentials. */
  METADATA,
  /** The host itself. */
  HOST,
  /** Nobody's. */
  FORBIDDEN;

  /**
   * Of AWS and most others; of AWS ECS and EKS; AWS and EKS over IPv6, and Google; Azure, Alibaba,
   * and Oracle's second.
   */
  private static final Set<Ip> METADATA_ADDRESSES =
      Stream.of(
              "169.254.169.254",
              "169.254.170.2",
              "169.254.170.23",
              "fd00:ec2::254",
              "fd00:ec2::23",
              "fd20:ce::254",
              "168.63.129.16",
              "100.100.100.200",
              "192.0.0.192")
          .map(text -> Cidr.parse(text).first())
          .collect(Collectors.toUnmodifiableSet());

  private static final List<Cidr> LOOPBACK = blocks("127.0.0.0/8", "::1");

  /**
   * Multicast (RFC 5771, RFC 4291 section 2.7), reserved with broadcast (RFC 1112), unspecified.
   */
  private static final List<Cidr> FORBIDDEN_BLOCKS =
      blocks("0.0.0.0", "224.0.0.0/4", "240.0.0.0/4", "::", "ff00::/8");

  /** IANA's IPv4 and IPv6 Special-Purpose Address Registries, whether globally reachable or not. */
  private static final List<Cidr> SPECIAL =
      blocks(
          "0.0.0.0/8",
          "10.0.0.0/8",
          "100.64.0.0/10",
          "127.0.0.0/8",
          "169.254.0.0/16",
          "172.16.0.0/12",
          "192.0.0.0/24",
          "192.0.2.0/24",
          "192.31.196.0/24",
          "192.52.193.0/24",
          "192.88.99.0/24",
          "192.168.0.0/16",
          "192.175.48.0/24",
          "198.18.0.0/15",
          "198.51.100.0/24",
          "203.0.113.0/24",
          "240.0.0.0/4",
          "::1",
          "64:ff9b:1::/48",
          "100::/64",
          "100:0:0:1::/64",
          "2001::/23",
          "2001:db8::/32",
          "2002::/16",
          "2620:4f:8000::/48",
          "3fff::/20",
          "5f00::/16",
          "fc00::/7",
          "fe80::/10");

  /** What RFC 4291 section 2.4 and IANA's "IPv6 Address Space" call global unicast. */
  private static final Cidr GLOBAL_UNICAST = Cidr.parse("2000::/3");

  private static final Cidr NAT64 = Cidr.parse("64:ff9b::/96");
  private static final Cidr IPV4_COMPATIBLE = Cidr.parse("::/96");
  private static final Cidr SIX_TO_FOUR = Cidr.parse("2002::/16");
  private static final Cidr TEREDO = Cidr.parse("2001::/32");

  private static List<Cidr> blocks(String... texts) {
    return Stream.of(texts).map(Cidr::parse).toList();
  }

  /**
   * The class of an address.
   *
   * @param isHosts whether an address is one of the host's interfaces
   */
  static AddressClass of(Ip address, Predicate<Ip> isHosts) {
    AddressClass strictest = own(address, isHosts);
    for (Ip inner : embedded(address)) {
      AddressClass of = own(inner, isHosts);
      strictest = of.compareTo(strictest) > 0 ? of : strictest;
    }
    return strictest;
  }

  private static AddressClass own(Ip address, Predicate<Ip> isHosts) {
    if (find(FORBIDDEN_BLOCKS, address) != null) {
      return FORBIDDEN;
    }
    if (find(LOOPBACK, address) != null || isHosts.test(address)) {
      return HOST;
    }
    if (METADATA_ADDRESSES.contains(address)) {
      return METADATA;
    }
    boolean special =
        find(SPECIAL, address) != null
            || address.v6() && !GLOBAL_UNICAST.contains(address) && !NAT64.contains(address);
    return special ? PRIVATE : PUBLIC;
  }

  private static @Nullable Cidr find(List<Cidr> blocks, Ip address) {
    for (Cidr block : blocks) {
      if (block.contains(address)) {
        return block;
      }
    }
    return null;
  }

  /**
   * Addresses of IPv4 that are written in one of IPv6, to which a gateway may lead: for NAT64 (RFC
   * 6052 section 2.1) and IPv4-compatible ones (RFC 4291 section 2.5.5.1) the last 32 bits; 6to4
   * (RFC 3056 section 2) those behind the prefix; Teredo (RFC 4380 section 4) its server's and,
   * with its bits inverted, its client's. Mapped ones are IPv4 already.
   */
  static List<Ip> embedded(Ip address) {
    if (!address.v6()) {
      return List.of();
    }
    if (NAT64.contains(address) || IPV4_COMPATIBLE.contains(address) && address.low() >>> 32 == 0) {
      return List.of(Ip.v4((int) address.low()));
    }
    if (SIX_TO_FOUR.contains(address)) {
      return List.of(Ip.v4((int) (address.high() >>> 16)));
    }
    if (TEREDO.contains(address)) {
      return List.of(Ip.v4((int) address.high()), Ip.v4((int) ~address.low()));
    }
    return List.of();
  }

  /**
   * Whether a rule for a block means an address of such a class, rather than that it happens to be
   * so wide: it has to be within the special range that the address is in, or be the address.
   */
  boolean isMeantBy(Cidr block, Ip address) {
    if (!block.contains(address)) {
      return false;
    }
    if (this == PUBLIC || block.prefix() == address.bits()) {
      return true;
    }
    boolean registered = false;
    for (Cidr range : SPECIAL) {
      if (range.contains(address)) {
        registered = true;
        if (range.contains(block)) {
          return true;
        }
      }
    }
    if (registered || !address.v6()) {
      return false;
    }
    if (NAT64.contains(address)) {
      // The block of IPv4 that it writes has to mean the address in it.
      return NAT64.contains(block)
          && isMeantBy(
              new Cidr(Ip.v4((int) block.first().low()), block.prefix() - NAT64.prefix()),
              Ip.v4((int) address.low()));
    }
    return !GLOBAL_UNICAST.contains(block.first()) && block.prefix() >= GLOBAL_UNICAST.prefix();
  }
}
