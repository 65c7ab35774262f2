// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/**
 * Is told how the layers of images and the packages of kernels arrive: of each layer of an image
 * once before any of them does, so that their number of bytes is known from then on. Called by the
 * thread that fetches and by those that download, several at once: it should return quickly. What
 * it throws is logged the first time in a fetch, and otherwise ignored.
 */
@FunctionalInterface
public interface FetchListener {
  /** Says where something stands: at each change of state, and about every 256 KiB. */
  void onProgress(FetchProgress progress);
}
