// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.Direction;
import dev.nacelle.network.Transport;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a flow is, and by what it is allowed. Changes only where its policy does. On the loop. */
final class FlowInfo {
  final long number;
  final Transport transport;
  final Direction direction;
  final Ip remote;
  final int port;
  final int guestPort;
  final long begin = System.nanoTime();
  private String rule;
  private List<String> names;
  private List<Pins.Pin> held;
  private @Nullable InetSocketAddress service;
  private @Nullable URI proxy;

  FlowInfo(
      long number, Transport transport, Direction direction, Ip remote, int port, int guestPort) {
    this.number = number;
    this.transport = transport;
    this.direction = direction;
    this.remote = remote;
    this.port = port;
    this.guestPort = guestPort;
    rule = "";
    names = List.of();
    held = List.of();
  }

  /** It is allowed by that from now on. */
  void allow(Decision decision) {
    List<Pins.Pin> pins = decision.candidates().stream().map(Decision.Candidate::pin).toList();
    pins.forEach(Pins.Pin::hold);
    release();
    held = pins;
    rule = decision.rule();
    names = decision.names();
    service = decision.service();
  }

  /** It is allowed by a published port. */
  void allow(String publishedPort) {
    rule = publishedPort;
  }

  /** The service of the host's that it leads to; null where that is none. */
  @Nullable InetSocketAddress service() {
    return service;
  }

  /** It is connected to through that, or with null without one. */
  void leaveThrough(@Nullable URI upstream) {
    proxy = upstream;
  }

  /** The proxy that it leaves through; null for none. */
  @Nullable URI proxy() {
    return proxy;
  }

  /** It has ended. */
  void release() {
    held.forEach(Pins.Pin::release);
    held = List.of();
  }

  String rule() {
    return rule;
  }

  List<String> names() {
    return names;
  }

  /** As events have it. */
  NetworkEvent.Flow toFlow() {
    return new NetworkEvent.Flow(
        number, transport, direction, remote.toInetAddress(), port, guestPort);
  }
}
