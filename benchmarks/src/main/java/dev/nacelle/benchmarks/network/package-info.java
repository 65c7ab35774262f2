// SPDX-License-Identifier: Apache-2.0
/** The network of a sandbox, and other ways out of a network namespace, side by side. */
@NullMarked
package dev.nacelle.benchmarks.network;

import org.jspecify.annotations.NullMarked;
