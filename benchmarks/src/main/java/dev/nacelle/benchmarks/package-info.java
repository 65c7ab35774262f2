// SPDX-License-Identifier: Apache-2.0
/** What the benchmarks share, and those that use nothing but Nacelle's public API. */
@NullMarked
package dev.nacelle.benchmarks;

import org.jspecify.annotations.NullMarked;
