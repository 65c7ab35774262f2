// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Limits of what a guest may have of its devices, off by default. Each disk, the source of entropy
 * and each direction of the socket has buckets of its own, so that one that waits keeps no other
 * waiting; nor does a vCPU wait, as a real one does not for a slow device. Immutable.
 */
public final class RateLimits {
  /** No limits. */
  public static final RateLimits NONE = new RateLimits(null, null, null);

  private final @Nullable RateLimit disks;
  private final @Nullable RateLimit entropy;
  private final @Nullable RateLimit socket;

  private RateLimits(
      @Nullable RateLimit disks, @Nullable RateLimit entropy, @Nullable RateLimit socket) {
    this.disks = disks;
    this.entropy = entropy;
    this.socket = socket;
  }

  /** The same with this limit for each disk, or null for none. */
  public RateLimits withDisks(@Nullable RateLimit limit) {
    return new RateLimits(limit, entropy, socket);
  }

  /** The same with this limit of random bytes, or null for none. */
  public RateLimits withEntropy(@Nullable RateLimit limit) {
    return new RateLimits(disks, limit, socket);
  }

  /** The same with this limit for each direction of the socket, or null for none. */
  public RateLimits withSocket(@Nullable RateLimit limit) {
    return new RateLimits(disks, entropy, limit);
  }

  /** For each disk: bytes read and written, and requests. */
  public Optional<RateLimit> disks() {
    return Optional.ofNullable(disks);
  }

  /** Random bytes, and requests for them. */
  public Optional<RateLimit> entropy() {
    return Optional.ofNullable(entropy);
  }

  /**
   * For each direction of the socket: bytes of payload, and packets. Packets to the guest that
   * carry no payload are not held back; what the guest sends waits in its order.
   */
  public Optional<RateLimit> socket() {
    return Optional.ofNullable(socket);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof RateLimits limits
        && Objects.equals(disks, limits.disks)
        && Objects.equals(entropy, limits.entropy)
        && Objects.equals(socket, limits.socket);
  }

  @Override
  public int hashCode() {
    return Objects.hash(disks, entropy, socket);
  }

  @Override
  public String toString() {
    return Stream.of(part("disks", disks), part("entropy", entropy), part("socket", socket))
        .flatMap(Optional::stream)
        .collect(Collectors.joining(", ", "[", "]"));
  }

  private static Optional<String> part(String name, @Nullable RateLimit limit) {
    return Optional.ofNullable(limit).map(there -> name + " " + there);
  }
}
