// SPDX-License-Identifier: Apache-2.0
/**
 * The host's half of a sandbox's network, without its sockets: what a policy says of an address and
 * a name, and parsers of what guests and servers send. Nothing here does I/O, has a thread or is
 * safe for use from several; one event loop for each sandbox is meant.
 *
 * <pre>
 * link    FrameDecoder   ── OPEN ──────────────▶ CompiledPolicy.decide ◀── Pins
 *                        ── DGRAM, port 53 ─┐         │ allowed by name: Decision.checks
 * DNS     DnsMessage.query ◀────────────────┘         ▼
 *         CompiledPolicy.resolve             ClientHello, or HttpHead for every request
 *         DnsMessage.question, .answer                │ Decision.judge
 *         CompiledPolicy.admit, Pins.pin              ▼
 *         Query.reply                         passed on, or the flow is reset
 * </pre>
 *
 * <p>A pin is made before the guest is answered, and held for as long as a flow lives by it. What
 * is to be looked at is kept back until it was judged. Names are compared in the one form that
 * {@link dev.nacelle.internal.check.DomainNames#canonical} gives, addresses as {@link
 * dev.nacelle.internal.check.Ip}, where IPv4-mapped ones are IPv4.
 */
@NullMarked
package dev.nacelle.net;

import org.jspecify.annotations.NullMarked;
