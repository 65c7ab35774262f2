// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

/**
 * Is told how the layers of an image arrive from a registry: of each once before any of them does,
 * so that their number of bytes is known from then on. Called by the thread that pulls and by those
 * that download, several at once: it should return quickly. What it throws is logged the first time
 * in a pull, and otherwise ignored.
 */
@FunctionalInterface
public interface PullListener {
  /** Says where a layer stands: at each change of state, and about every 256 KiB. */
  void onProgress(LayerProgress progress);
}
