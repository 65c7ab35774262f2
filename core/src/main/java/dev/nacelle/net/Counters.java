// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkStatistics;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;

/** What a network has carried and refused. On the loop. */
final class Counters {
  /** Rules that are counted for themselves; a policy may be changed any number of times. */
  private static final int MAX_RULES = 4096;

  private final Map<String, Use> rules = new HashMap<>();
  private final Use others = new Use();
  private final Map<DenialReason, Long> denied = new EnumMap<>(DenialReason.class);
  private final Map<DenialReason, Long> dnsDenied = new EnumMap<>(DenialReason.class);
  private long sent;
  private long received;
  private long opened;
  private long failed;
  private long dnsQueries;
  private long datagramsDropped;
  private long linksLost;

  private static final class Use {
    private long flows;
    private long sent;
    private long received;
  }

  private Use use(FlowInfo flow) {
    Use use = rules.get(flow.rule());
    if (use == null) {
      if (rules.size() >= MAX_RULES) {
        return others;
      }
      use = new Use();
      rules.put(flow.rule(), use);
    }
    return use;
  }

  void opened(FlowInfo flow) {
    opened++;
    use(flow).flows++;
  }

  void sent(FlowInfo flow, int bytes) {
    sent += bytes;
    use(flow).sent += bytes;
  }

  void received(FlowInfo flow, int bytes) {
    received += bytes;
    use(flow).received += bytes;
  }

  void failed() {
    failed++;
  }

  void denied(DenialReason reason) {
    denied.merge(reason, 1L, Long::sum);
  }

  void dnsQuery() {
    dnsQueries++;
  }

  void dnsDenied(DenialReason reason) {
    dnsDenied.merge(reason, 1L, Long::sum);
  }

  void datagramDropped() {
    datagramsDropped++;
  }

  void linkLost() {
    linksLost++;
  }

  NetworkStatistics read(int openFlows, int openUdpSessions, long eventsLost) {
    Map<String, NetworkStatistics.RuleUse> uses = new HashMap<>();
    rules.forEach(
        (rule, use) ->
            uses.put(rule, new NetworkStatistics.RuleUse(use.flows, use.sent, use.received)));
    return NetworkStatistics.builder()
        .sent(sent)
        .received(received)
        .opened(opened)
        .openFlows(openFlows)
        .openUdpSessions(openUdpSessions)
        .failed(failed)
        .denied(denied)
        .dnsQueries(dnsQueries)
        .dnsDenied(dnsDenied)
        .datagramsDropped(datagramsDropped)
        .eventsLost(eventsLost)
        .linksLost(linksLost)
        .rules(uses)
        .build();
  }
}
