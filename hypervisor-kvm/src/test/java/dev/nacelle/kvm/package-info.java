// SPDX-License-Identifier: Apache-2.0
/** Whole virtual machines: with guests of a few instructions, and with real kernels. */
@NullMarked
package dev.nacelle.kvm;

import org.jspecify.annotations.NullMarked;
