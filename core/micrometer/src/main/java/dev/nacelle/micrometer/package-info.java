// SPDX-License-Identifier: Apache-2.0
/** Metrics of sandboxes: {@link dev.nacelle.micrometer.NacelleMetrics}. */
@NullMarked
package dev.nacelle.micrometer;

import org.jspecify.annotations.NullMarked;
