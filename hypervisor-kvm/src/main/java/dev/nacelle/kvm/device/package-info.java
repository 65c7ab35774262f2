// SPDX-License-Identifier: Apache-2.0
/** Devices: what the guest reaches through ports and memory-mapped registers. */
@NullMarked
package dev.nacelle.kvm.device;

import org.jspecify.annotations.NullMarked;
