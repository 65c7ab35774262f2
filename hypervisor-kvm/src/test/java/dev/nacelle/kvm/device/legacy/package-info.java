// SPDX-License-Identifier: Apache-2.0
/** Tests of the devices at a PC's ports. */
@NullMarked
package dev.nacelle.kvm.device.legacy;

import org.jspecify.annotations.NullMarked;
