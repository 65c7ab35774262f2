// SPDX-License-Identifier: Apache-2.0
/**
 * What runs: the runtime, its starts, running sandboxes, their processes and streams, and where
 * images and kernels come from. Nothing else of core depends on it.
 */
@NullMarked
package dev.nacelle.engine;

import org.jspecify.annotations.NullMarked;
