// SPDX-License-Identifier: Apache-2.0
/** The same boot in Nacelle and in QEMU, side by side. */
@NullMarked
package dev.nacelle.benchmarks.boot;

import org.jspecify.annotations.NullMarked;
