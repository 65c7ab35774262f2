// SPDX-License-Identifier: Apache-2.0
/** Benchmarks that reach inside the engine, which its package makes possible. */
@NullMarked
package dev.nacelle.engine;

import org.jspecify.annotations.NullMarked;
