// SPDX-License-Identifier: Apache-2.0
/**
 * The host's half of a sandbox's network. {@link dev.nacelle.net.HostNetwork} is what others use.
 *
 * <pre>
 * guest's agent ══ frames over one stream (proto/network.md) ══ GuestLink ── FlowTable
 *
 *   OPEN   ── Dialer ── TcpFlow ── a socket of the host's, or ProxyTunnel
 *             EndedServers asks TcpFlow whether a server that sends no more has reset it
 *   DGRAM  ── UdpSessions ── a socket of the host's for each pair of places
 *   port 53 of both ── DnsService (DnsFlow over TCP) ── Resolver ── Inquiry ── name servers
 *   ACCEPT ── Acceptor ── Publisher's listening sockets, or ProbeFlow
 *
 * FlowTable asks CompiledPolicy.decide, by address or by the names that Pins knows it was told
 * DnsService asks CompiledPolicy.resolve, has CompiledPolicy.admit choose, pins, then answers
 * TcpFlow's Gate holds what is sent until ClientHello or HttpHead have found a name for
 *   Decision.judge; its Backlog is what waits
 * Throttle, TokenBucket and NetworkLimits bound it; Journal tells Counters, EventSink and Denials
 * </pre>
 *
 * <p>All of one sandbox's network happens on one {@link dev.nacelle.net.NetworkLoop}, a thread with
 * a selector, and so has no locks. Content goes from a socket into the link's buffer, and from
 * there to the guest, without a copy between or an object per event.
 *
 * <p>Names are compared in the one form that {@link
 * dev.nacelle.internal.check.DomainNames#canonical} gives, addresses as {@link
 * dev.nacelle.internal.check.Ip}, where IPv4-mapped ones are IPv4.
 */
@NullMarked
package dev.nacelle.net;

import org.jspecify.annotations.NullMarked;
