// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Collection;
import java.util.List;

/** What published ports of one sandbox are held to before anything of it is made. */
final class PublishedPorts {
  private static final InetAddress LOCALHOST = loopback();

  private PublishedPorts() {}

  private static InetAddress loopback() {
    try {
      return InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
    } catch (UnknownHostException e) {
      throw new AssertionError("four bytes are an address", e);
    }
  }

  /**
   * Checks them.
   *
   * @throws IllegalArgumentException when there is no network for them, when they are too many, or
   *     when two of them cannot be had at once
   */
  static void check(Collection<PublishedPort> ports, NetworkPolicy network) {
    if (!ports.isEmpty() && network.isNone()) {
      throw new IllegalArgumentException(
          "ports are published, but there is no network: give the sandbox one, such as"
              + " NetworkPolicy.internal(), which leads nowhere");
    }
    if (ports.size() > SandboxSpec.MAXIMUM_PUBLISHED_PORTS) {
      throw new IllegalArgumentException(
          "a sandbox may publish "
              + SandboxSpec.MAXIMUM_PUBLISHED_PORTS
              + " ports, not "
              + ports.size());
    }
    List<PublishedPort> all = List.copyOf(ports);
    for (int i = 0; i < all.size(); i++) {
      for (PublishedPort other : all.subList(0, i)) {
        check(other, all.get(i));
      }
    }
  }

  private static void check(PublishedPort one, PublishedPort other) {
    if (one.transport() != other.transport()) {
      return;
    }
    if (one.guestPort() == other.guestPort()) {
      throw new IllegalArgumentException(
          "the port " + one.guestPort() + "/" + one.transport() + " is published twice");
    }
    if (one.hostPort() == other.hostPort()
        && one.hostPort() != 0
        && overlap(address(one), address(other))) {
      throw new IllegalArgumentException(
          "two ports are published on one of the host's: " + one + "; " + other);
    }
  }

  private static InetAddress address(PublishedPort port) {
    return port.address().orElse(LOCALHOST);
  }

  private static boolean overlap(InetAddress one, InetAddress other) {
    return one.equals(other) || isOnAllWith(one, other) || isOnAllWith(other, one);
  }

  /** Whether the first is every address that the second may be; that of IPv6 takes IPv4's, too. */
  private static boolean isOnAllWith(InetAddress one, InetAddress other) {
    return one.isAnyLocalAddress()
        && (one instanceof Inet6Address || other instanceof Inet4Address);
  }
}
