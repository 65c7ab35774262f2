// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Optional;

/**
 * Where something that is fetched stands. Later versions may fetch other things: who tells them
 * apart has a default.
 */
public sealed interface FetchProgress permits LayerProgress, PackageProgress {
  /** What happens to it. More may be added: a {@code switch} has a default. */
  enum State {
    /** It is wanted, and was not looked for yet; of layers only. */
    WAITING,
    /** It was in the cache already; nothing is downloaded. Of layers only. */
    ALREADY_THERE,
    /** Bytes arrive. */
    DOWNLOADING,
    /** The download goes on behind what an earlier attempt, or an earlier process, got. */
    RESUMED,
    /** An attempt failed; another follows, after a pause or from elsewhere. */
    RETRYING,
    /** It is complete and verified. */
    DONE
  }

  /** What happens to it. */
  State state();

  /** What of it is on the disk. */
  DataSize done();

  /** What there is of it; empty as long as that is not known, as where apt itself downloads. */
  Optional<DataSize> total();
}
