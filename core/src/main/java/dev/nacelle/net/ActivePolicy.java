// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.network.NetworkPolicy;
import java.net.InetSocketAddress;
import java.net.URI;
import org.jspecify.annotations.Nullable;

/**
 * A policy that a network goes by. Immutable.
 *
 * @param policy as its owner wrote it
 * @param compiled as it is asked
 * @param proxy through which flows to public addresses are connected; null for none, unresolved
 *     where its name is not known
 */
record ActivePolicy(
    NetworkPolicy policy, CompiledPolicy compiled, @Nullable InetSocketAddress proxy) {
  /**
   * May take its time: it has the proxy's name resolved.
   *
   * @param seeming of its network
   */
  static ActivePolicy of(NetworkPolicy policy, ServiceAddresses seeming) {
    URI proxy = policy.upstreamProxy().orElse(null);
    return new ActivePolicy(
        policy,
        CompiledPolicy.of(policy, seeming),
        proxy == null ? null : new InetSocketAddress(proxy.getHost(), proxy.getPort()));
  }
}
