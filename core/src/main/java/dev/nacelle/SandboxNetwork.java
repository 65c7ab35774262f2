// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.PublishedPort;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.Map;

/**
 * A sandbox's network: where its published ports are, what passes there, and where it may lead.
 * Made by {@link Sandbox#network()}; not meant to be implemented by others. Safe for use from
 * several threads.
 *
 * <p>It ends with the sandbox, at once: its connections are reset, and the host's ports are closed.
 */
public interface SandboxNetwork {
  /**
   * Where its published ports are on the host, with the port that was chosen where any would do;
   * the same as long as the sandbox lives.
   *
   * @return immutable
   */
  Map<PublishedPort, InetSocketAddress> published();

  /**
   * Where a published port of TCP is on the host.
   *
   * @param guestPort in the sandbox
   * @throws IllegalArgumentException when it is not {@linkplain SandboxSpec.Builder#publish
   *     published}
   */
  InetSocketAddress published(int guestPort);

  /**
   * Returns when a program of the sandbox accepts connections there: it is asked by one that ends
   * at once, every 50 ms. A pause of the sandbox counts.
   *
   * @param guestPort of TCP, published or not, 1 to 65535
   * @param timeout how long to wait; it is asked once at least
   * @throws IllegalArgumentException when it is no port
   * @throws ProcessException with {@link ProcessException.Reason#TIMED_OUT} when nobody does in
   *     time
   * @throws SandboxEndedException when the sandbox ends first
   * @throws InterruptedOperationException when the thread is interrupted
   */
  void awaitPort(int guestPort, Duration timeout);

  /** Counters since the sandbox started; of one that has ended, the last. */
  NetworkStatistics statistics();

  /** Where it may connect to now. */
  NetworkPolicy policy();

  /**
   * Has it lead elsewhere. When this returns that counts: also what is open is judged by it, and
   * what it does not allow is reset. With {@link NetworkPolicy#none()} nothing passes, and who
   * connects to a published port is sent away, until there is another policy. It may take its time
   * to have a proxy's name resolved, for which no other update waits; of two at once that which was
   * called last counts in the end.
   *
   * @throws SandboxEndedException when the sandbox has ended
   */
  void update(NetworkPolicy policy);
}
