// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Logger;

/** What users' listeners throw, which {@link ListenerGuard} logs; it stays out of the log. */
public final class ListenerFailures implements AutoCloseable {
  private static final Logger LOGGER = Logger.getLogger(ListenerGuard.class.getName());

  private final List<String> messages = new CopyOnWriteArrayList<>();

  /** From now on, until it is closed. */
  public ListenerFailures() {
    LOGGER.setFilter(
        entry -> {
          messages.add(entry.getThrown().getMessage());
          return false;
        });
  }

  /** Of what was thrown and logged. */
  public List<String> messages() {
    return List.copyOf(messages);
  }

  @Override
  public void close() {
    LOGGER.setFilter(null);
  }
}
