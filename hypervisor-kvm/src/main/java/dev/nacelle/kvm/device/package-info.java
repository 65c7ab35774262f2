// SPDX-License-Identifier: Apache-2.0
/**
 * What devices stand on: the buses on which the guest reaches their ports and memory-mapped
 * registers, the event loop that they work on, what their machine gives them; and the console.
 */
@NullMarked
package dev.nacelle.kvm.device;

import org.jspecify.annotations.NullMarked;
