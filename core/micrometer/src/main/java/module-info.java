// SPDX-License-Identifier: Apache-2.0

/** Metrics of Nacelle's sandboxes for Micrometer. */
module dev.nacelle.micrometer {
  requires transitive dev.nacelle;
  requires transitive micrometer.core;
  requires static transitive org.jspecify;

  exports dev.nacelle.micrometer;
}
