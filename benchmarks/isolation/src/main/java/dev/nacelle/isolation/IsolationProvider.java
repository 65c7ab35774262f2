// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.util.List;

/** Brings isolations; found by {@link java.util.ServiceLoader}. */
public interface IsolationProvider {
  /**
   * Isolations, in the order in which they are measured and shown; also those that this machine
   * does not have, which say so. Nothing is opened or started for it.
   */
  List<Isolation> isolations(Setting setting);
}
