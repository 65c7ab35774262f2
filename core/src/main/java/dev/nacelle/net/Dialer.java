// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.network.NetworkEvent.Limit;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import java.nio.channels.UnresolvedAddressException;
import java.nio.channels.UnsupportedAddressTypeException;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Connects to where the guest's flows lead that are allowed, and tells it how that went. On the
 * loop.
 */
final class Dialer {
  private final NetworkLoop loop;
  private final FlowTable table;
  private final GuestLink link;
  private final Journal journal;
  private final Surroundings surroundings;
  private final Map<Integer, NetworkLoop.Timer> connecting = new HashMap<>();

  Dialer(NetworkLoop loop, FlowTable table, Surroundings surroundings) {
    this.loop = loop;
    this.table = table;
    this.surroundings = surroundings;
    link = table.link();
    journal = table.journal();
  }

  /** How many wait for their server's answer. */
  int pending() {
    return connecting.size();
  }

  /**
   * Connects.
   *
   * @param info as which it is allowed by the decision
   * @param credit what the guest takes
   */
  void dial(int id, FlowInfo info, Decision decision, Credit credit) {
    SocketChannel channel;
    try {
      channel = SocketChannel.open();
    } catch (IOException e) {
      // The host has no descriptor left, most of all.
      refuse(id, info, Refusal.LIMIT, e);
      journal.events().limit(Limit.HOST_DESCRIPTORS);
      return;
    }
    TcpFlow flow = new TcpFlow(table, id, info, channel, table.newWindow(), credit);
    flow.decided(decision);
    table.keep(flow);
    try {
      channel.configureBlocking(false);
      channel.connect(surroundings.route(target(flow, decision)));
      flow.register(loop.register(channel, SelectionKey.OP_CONNECT, flow));
      Runnable timedOut = () -> table.guarded(flow, () -> timedOut(flow));
      connecting.put(id, loop.schedule(timedOut, table.limits().connectTimeout()));
      if (channel.isConnected()) {
        connected(flow);
      }
    } catch (IOException | UnresolvedAddressException | UnsupportedAddressTypeException e) {
      failed(flow, e);
    }
  }

  private InetSocketAddress target(TcpFlow flow, Decision decision) {
    InetSocketAddress service = decision.service();
    if (service != null) {
      return service;
    }
    FlowInfo info = flow.info;
    info.leaveThrough(proxy(info, decision));
    InetSocketAddress proxy = table.active().proxy();
    if (proxy != null && info.proxy() != null) {
      flow.through(new ProxyTunnel(info.remote, info.port));
      return proxy;
    }
    return new InetSocketAddress(info.remote.toInetAddress(), info.port);
  }

  /** Through what a flow leaves by the policy that there is; null where it is connected to. */
  @Nullable URI proxy(FlowInfo info, Decision decision) {
    boolean leaves =
        decision.service() == null
            && AddressClass.of(info.remote, surroundings.isHosts()) == AddressClass.PUBLIC;
    return leaves ? table.active().policy().upstreamProxy().orElse(null) : null;
  }

  /** A socket that was to connect has done so or not. */
  void connected(TcpFlow flow) {
    try {
      if (flow.connect()) {
        forget(flow);
        flow.opened();
        link.sendOpened(flow.id, flow.window());
        journal.allowed(flow.info);
      }
    } catch (IOException e) {
      failed(flow, e);
    }
    link.flush();
  }

  private void timedOut(TcpFlow flow) {
    table.forget(flow, false);
    refuse(flow.id, flow.info, Refusal.TIMEOUT, new IOException("no answer in time"));
    link.flush();
  }

  private void failed(TcpFlow flow, Exception why) {
    table.forget(flow, false);
    refuse(flow.id, flow.info, ConnectFailure.of(why), why);
  }

  private void refuse(int id, FlowInfo info, Refusal refusal, Exception why) {
    info.release();
    link.sendRefused(id, refusal);
    journal.failed(info, why);
  }

  /** It is not waited for any more. */
  void forget(Flow flow) {
    NetworkLoop.@Nullable Timer timer = connecting.remove(flow.id);
    if (timer != null) {
      timer.cancel();
    }
  }
}
