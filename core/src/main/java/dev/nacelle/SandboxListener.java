// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/**
 * Is told of sandboxes as they come and go; given to {@link Nacelle.Builder#listener}. Of one
 * sandbox it hears one event at a time, in their order, on whatever thread; of several at once. It
 * must not block, for starting and pausing may wait for it. What it throws is logged the first
 * time, and otherwise ignored.
 */
@FunctionalInterface
public interface SandboxListener {
  /** Something happened to a sandbox. There may be events of more kinds in later versions. */
  void onEvent(SandboxEvent event);
}
