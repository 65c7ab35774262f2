// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.files;

/**
 * Is told how files come and go: about every MiB or thousand files, and at the end of what
 * succeeded. Called by the thread that transfers them, which waits for it. What it throws is logged
 * the first time, and otherwise ignored: to end a transfer, interrupt its thread.
 */
@FunctionalInterface
public interface TransferListener {
  /** Says how far it is. */
  void onProgress(TransferProgress progress);
}
