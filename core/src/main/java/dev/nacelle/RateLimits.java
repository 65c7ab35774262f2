// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import org.jspecify.annotations.Nullable;

/**
 * Limits of what a guest may have of its devices, off by default. Each disk, the source of entropy
 * and each direction of the socket has buckets of its own, so that one that waits keeps no other
 * waiting; nor does a vCPU wait, as a real one does not for a slow device.
 *
 * @param disks for each disk: bytes read and written, and requests; null for no limit
 * @param entropy random bytes, and requests for them; null for no limit
 * @param socket for each direction of the socket: bytes of payload, and packets. Packets to the
 *     guest that carry no payload are not held back; what the guest sends waits in its order. Null
 *     for no limit
 */
public record RateLimits(
    @Nullable RateLimit disks, @Nullable RateLimit entropy, @Nullable RateLimit socket) {
  /** No limits. */
  public static final RateLimits NONE = new RateLimits(null, null, null);

  /** The same with this limit for each disk. */
  public RateLimits withDisks(RateLimit limit) {
    return new RateLimits(limit, entropy, socket);
  }

  /** The same with this limit of random bytes. */
  public RateLimits withEntropy(RateLimit limit) {
    return new RateLimits(disks, limit, socket);
  }

  /** The same with this limit for each direction of the socket. */
  public RateLimits withSocket(RateLimit limit) {
    return new RateLimits(disks, entropy, limit);
  }
}
