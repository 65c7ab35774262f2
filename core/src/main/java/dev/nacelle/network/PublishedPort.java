// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

import java.net.InetAddress;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A port of the sandbox's that is reached from outside, through a port of the host's. The program
 * in the sandbox has to listen on an address of its network or on all; one that listens on
 * localhost alone is not reached. Whoever connects faster than {@link NetworkLimits#opens} allows,
 * 200 times a second by default, is reset, as a benchmark's connections are. Immutable.
 *
 * <pre>{@code
 * PublishedPort.tcp(8000)                                            // a free port of 127.0.0.1
 * PublishedPort.tcp(8000).onHostPort(8080)                           // 127.0.0.1:8080
 * PublishedPort.tcp(8000).onAddress(address).keepPeerAddress(true)   // for others than this host
 * }</pre>
 */
public final class PublishedPort {
  private static final int MAX_PORT = 65_535;

  private final Transport transport;
  private final int guestPort;
  private final int hostPort;
  private final @Nullable InetAddress address;
  private final boolean keepsPeerAddress;

  private PublishedPort(
      Transport transport,
      int guestPort,
      int hostPort,
      @Nullable InetAddress address,
      boolean keepsPeerAddress) {
    this.transport = transport;
    this.guestPort = guestPort;
    this.hostPort = hostPort;
    this.address = address;
    this.keepsPeerAddress = keepsPeerAddress;
  }

  /**
   * A port of TCP, on a free port of 127.0.0.1.
   *
   * @param guestPort 1 to 65535
   * @throws IllegalArgumentException when it is no port
   */
  public static PublishedPort tcp(int guestPort) {
    return new PublishedPort(Transport.TCP, PortRange.check(guestPort), 0, null, false);
  }

  /**
   * A port of UDP, on a free port of 127.0.0.1.
   *
   * @param guestPort 1 to 65535
   * @throws IllegalArgumentException when it is no port
   */
  public static PublishedPort udp(int guestPort) {
    return new PublishedPort(Transport.UDP, PortRange.check(guestPort), 0, null, false);
  }

  /**
   * The same on that port of the host's.
   *
   * @param port 1 to 65535, or 0 for a free one
   * @throws IllegalArgumentException when it is none of them
   */
  public PublishedPort onHostPort(int port) {
    if (port < 0 || port > MAX_PORT) {
      throw new IllegalArgumentException(
          "a port of the host's is 1 to " + MAX_PORT + ", or 0 for a free one, not " + port);
    }
    return new PublishedPort(transport, guestPort, port, address, keepsPeerAddress);
  }

  /**
   * The same on that address of the host's: with the unspecified one on all, for whoever reaches
   * the host.
   *
   * @throws IllegalArgumentException when it is a multicast address
   */
  public PublishedPort onAddress(InetAddress address) {
    if (Objects.requireNonNull(address).isMulticastAddress()) {
      throw new IllegalArgumentException(
          "nobody connects to a multicast address: " + address.getHostAddress());
    }
    return new PublishedPort(transport, guestPort, hostPort, address, keepsPeerAddress);
  }

  /**
   * The same, where the program sees the address and port of who connects, if that is true; by
   * default it sees the gateway's.
   */
  public PublishedPort keepPeerAddress(boolean keep) {
    return new PublishedPort(transport, guestPort, hostPort, address, keep);
  }

  /** TCP or UDP. */
  public Transport transport() {
    return transport;
  }

  /** The port in the sandbox. */
  public int guestPort() {
    return guestPort;
  }

  /** The port of the host's; 0 for a free one. */
  public int hostPort() {
    return hostPort;
  }

  /** The address of the host's, where it is not 127.0.0.1. */
  public Optional<InetAddress> address() {
    return Optional.ofNullable(address);
  }

  /** Whether the program sees the address and port of who connects. */
  public boolean keepsPeerAddress() {
    return keepsPeerAddress;
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(transport, guestPort, hostPort, address, keepsPeerAddress);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof PublishedPort that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return guestPort
        + "/"
        + transport
        + " on "
        + (address == null ? "127.0.0.1" : address.getHostAddress())
        + (hostPort == 0 ? ", a free port" : ":" + hostPort)
        + (keepsPeerAddress ? ", keeps the peer's address" : "");
  }
}
