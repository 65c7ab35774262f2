// SPDX-License-Identifier: Apache-2.0
/** Nacelle's block device and QEMU's, under one guest. */
@NullMarked
package dev.nacelle.benchmarks.block;

import org.jspecify.annotations.NullMarked;
