// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import java.net.InetSocketAddress;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;

/**
 * What a network knows of the host that it is on.
 *
 * @param isHosts whether an address is one of the host's
 * @param ipv6 whether the guest has IPv6, since the host has
 * @param nameServers whom names are asked of
 * @param memory for what receivers do not take
 * @param routes where the host connects to for an address that was allowed: there; tests have
 *     servers of their own stand for others
 */
record Surroundings(
    Predicate<Ip> isHosts,
    boolean ipv6,
    NameServers nameServers,
    NetworkMemory memory,
    UnaryOperator<InetSocketAddress> routes) {
  static Surroundings of(HostAddresses hosts, NameServers nameServers, NetworkMemory memory) {
    return new Surroundings(hosts, hosts.hasIpv6(), nameServers, memory, UnaryOperator.identity());
  }

  InetSocketAddress route(InetSocketAddress address) {
    return routes.apply(address);
  }
}
