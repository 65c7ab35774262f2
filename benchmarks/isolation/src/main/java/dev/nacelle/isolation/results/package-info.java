// SPDX-License-Identifier: Apache-2.0

/** What was measured, as one file in JSON per run. */
@NullMarked
package dev.nacelle.isolation.results;

import org.jspecify.annotations.NullMarked;
