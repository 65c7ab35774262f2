// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

/**
 * Where a layer stands on its way from a registry.
 *
 * @param image that is pulled
 * @param layer digest of the layer's blob
 * @param number of the layer, from 1 at the bottom
 * @param layers how many the image has
 * @param done bytes that are on the disk
 * @param total bytes of the blob
 */
public record LayerProgress(
    ImageRef image, Digest layer, int number, int layers, State state, long done, long total) {
  /** What happens to it. */
  public enum State {
    /** It is wanted, and was not looked for yet. */
    WAITING,
    /** It was in the store already; nothing is downloaded. */
    ALREADY_THERE,
    /** Bytes arrive. */
    DOWNLOADING,
    /** The download goes on behind what an earlier attempt, or an earlier process, got. */
    RESUMED,
    /** An attempt failed; another follows, after a pause or from another mirror. */
    RETRYING,
    /** It is complete and verified. */
    DONE
  }
}
