// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.Optional;

/**
 * What {@link Nacelle#pruneImages} and {@link Nacelle#pruneKernels} remove of what nobody uses.
 * Immutable.
 *
 * @param unusedFor what was last used longer ago than that goes
 * @param maximumSize then what was used longest ago goes, until all together have no more than this
 *     (names count nothing); what is in use counts, and stays
 */
public record PrunePolicy(Optional<Duration> unusedFor, Optional<DataSize> maximumSize) {
  /**
   * @throws IllegalArgumentException when the time is negative, or neither is given
   */
  public PrunePolicy {
    if (unusedFor.isEmpty() && maximumSize.isEmpty()) {
      throw new IllegalArgumentException("neither an age nor a size is given");
    }
    if (unusedFor.filter(Duration::isNegative).isPresent()) {
      throw new IllegalArgumentException("a negative time: " + unusedFor.get());
    }
  }

  /** Everything that nobody uses. */
  public static PrunePolicy everything() {
    return unusedFor(Duration.ZERO);
  }

  /** What was last used longer ago than that. */
  public static PrunePolicy unusedFor(Duration time) {
    return new PrunePolicy(Optional.of(time), Optional.empty());
  }

  /** What was used longest ago, until the rest has no more than this. */
  public static PrunePolicy downTo(DataSize size) {
    return new PrunePolicy(Optional.empty(), Optional.of(size));
  }

  /** This, and also what was used longest ago until the rest has no more than this. */
  public PrunePolicy andDownTo(DataSize size) {
    return new PrunePolicy(unusedFor, Optional.of(size));
  }
}
