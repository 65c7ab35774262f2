// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What {@link Nacelle#pruneImages} and {@link Nacelle#pruneKernels} remove of what nobody uses.
 * Immutable.
 */
public final class PrunePolicy {
  private final @Nullable Duration unusedFor;
  private final @Nullable DataSize maximumSize;

  private PrunePolicy(@Nullable Duration unusedFor, @Nullable DataSize maximumSize) {
    this.unusedFor = unusedFor;
    this.maximumSize = maximumSize;
  }

  /** Everything that nobody uses. */
  public static PrunePolicy everything() {
    return unusedFor(Duration.ZERO);
  }

  /**
   * What was last used longer ago than that.
   *
   * @throws IllegalArgumentException when the time is negative
   */
  public static PrunePolicy unusedFor(Duration time) {
    if (time.isNegative()) {
      throw new IllegalArgumentException("a negative time: " + time);
    }
    return new PrunePolicy(time, null);
  }

  /** What was used longest ago, until the rest has no more than this. */
  public static PrunePolicy downTo(DataSize size) {
    return new PrunePolicy(null, Objects.requireNonNull(size));
  }

  /** This, and also what was used longest ago until the rest has no more than this. */
  public PrunePolicy andDownTo(DataSize size) {
    return new PrunePolicy(unusedFor, Objects.requireNonNull(size));
  }

  /** What was last used longer ago than that goes. */
  public Optional<Duration> unusedFor() {
    return Optional.ofNullable(unusedFor);
  }

  /**
   * Then what was used longest ago goes, until all together have no more than this (names count
   * nothing); what is in use counts, and stays.
   */
  public Optional<DataSize> maximumSize() {
    return Optional.ofNullable(maximumSize);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof PrunePolicy policy
        && Objects.equals(unusedFor, policy.unusedFor)
        && Objects.equals(maximumSize, policy.maximumSize);
  }

  @Override
  public int hashCode() {
    return Objects.hash(unusedFor, maximumSize);
  }

  @Override
  public String toString() {
    String age = unusedFor == null ? "" : "unused for " + unusedFor;
    String size = maximumSize == null ? "" : "down to " + maximumSize;
    return age + (age.isEmpty() || size.isEmpty() ? "" : ", and ") + size;
  }
}
