// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.End;
import dev.nacelle.network.NetworkEvent.Limit;
import java.time.Duration;
import java.util.List;

/**
 * Who is told what a network does: its counters, its owner's listener, and of what is denied the
 * guest. On the loop.
 */
final class Journal {
  private final Counters counters = new Counters();
  private final EventSink events;
  private final Denials denials;

  Journal(EventSink events, GuestLink link) {
    this.events = events;
    denials = new Denials(link);
  }

  Counters counters() {
    return counters;
  }

  EventSink events() {
    return events;
  }

  Denials denials() {
    return denials;
  }

  /** A flow is connected. */
  void allowed(FlowInfo info) {
    counters.opened(info);
    events.tell(
        time ->
            new NetworkEvent.FlowAllowed(
                events.sandboxId(), time, info.toFlow(), info.rule(), info.names()));
  }

  /** A flow is not allowed, or what it sends is not. */
  void denied(FlowInfo info, DenialReason reason, String rule, List<String> names, String said) {
    counters.denied(reason);
    denials.flow(info, reason, rule, names, said);
    events.tell(
        time ->
            new NetworkEvent.FlowDenied(
                events.sandboxId(), time, info.toFlow(), reason, rule, names, said));
  }

  /** A flow was refused, or waits no longer, since there is a limit. */
  void limited(Limit limit) {
    counters.denied(DenialReason.LIMIT);
    events.limit(limit);
  }

  /** A flow is allowed and cannot be connected. */
  void failed(FlowInfo info, Exception why) {
    counters.failed();
    events.tell(
        time ->
            new NetworkEvent.FlowFailed(
                events.sandboxId(), time, info.toFlow(), ConnectFailure.inWords(why)));
  }

  /** A flow that was connected is over. */
  void ended(FlowInfo info, long sent, long received, End how) {
    Duration duration = Duration.ofNanos(System.nanoTime() - info.begin);
    events.tell(
        time ->
            new NetworkEvent.FlowEnded(
                events.sandboxId(), time, info.toFlow(), sent, received, duration, how));
  }

  /** The link has ended, and the sandbox has not. */
  void lost(String why) {
    counters.linkLost();
    events.tell(time -> new NetworkEvent.LinkLost(events.sandboxId(), time, why));
  }
}
