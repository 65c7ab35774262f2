// SPDX-License-Identifier: Apache-2.0
/**
 * What a sandbox may reach over a network, and what it did reach.
 *
 * <pre>{@code
 * NetworkPolicy policy = NetworkPolicy.builder()
 *     .allow(Egress.https("pypi.org", "files.pythonhosted.org"))      // by name: the SNI is checked
 *     .allow(Egress.addresses("10.20.0.0/16").tcp(5432).named("databases"))
 *     .deny(Egress.addresses("10.20.7.0/24"))                         // whatever else allows it
 *     .hostService("cache", new InetSocketAddress("127.0.0.1", 6379)) // as cache.host.internal:6379
 *     .limits(NetworkLimits.builder().egress(Rate.perSecond(10 << 20)).build())
 *     .build();
 * }</pre>
 *
 * <p>The values are {@link dev.nacelle.network.NetworkPolicy} with its {@link
 * dev.nacelle.network.Egress rules} and {@link dev.nacelle.network.NetworkLimits limits}, and
 * {@link dev.nacelle.network.PublishedPort}; what is told of a network are {@link
 * dev.nacelle.network.NetworkEvent events} and {@link dev.nacelle.network.NetworkStatistics}.
 *
 * <p>{@link dev.nacelle.SandboxSpec.Builder#network} gives a sandbox one, and {@link
 * dev.nacelle.Sandbox#network()} changes it.
 */
@NullMarked
package dev.nacelle.network;

import org.jspecify.annotations.NullMarked;
