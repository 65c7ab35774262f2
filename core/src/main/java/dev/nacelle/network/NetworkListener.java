// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

/**
 * Is told what happens in a sandbox's network. It must not block: while it does, later events wait,
 * and beyond a bound they are counted in {@link NetworkEvent.EventsLost} instead. Must be safe for
 * use from several threads where several sandboxes share it. What it throws is logged once and
 * ignored.
 */
@FunctionalInterface
public interface NetworkListener {
  /** Something has happened. */
  void onEvent(NetworkEvent event);
}
