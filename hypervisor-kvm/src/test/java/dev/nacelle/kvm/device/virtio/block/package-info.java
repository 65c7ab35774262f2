// SPDX-License-Identifier: Apache-2.0
/** Tests of the disk against a driver that the tests play themselves. */
@NullMarked
package dev.nacelle.kvm.device.virtio.block;

import org.jspecify.annotations.NullMarked;
