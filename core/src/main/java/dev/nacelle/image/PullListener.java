// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

/**
 * Is told how the layers of an image arrive from a registry. Called by several threads at once, by
 * those that download: it should return quickly, and what it throws ends the pull.
 */
@FunctionalInterface
public interface PullListener {
  /** Says where a layer stands: at each change of state, and about every 256 KiB. */
  void onProgress(LayerProgress progress);
}
