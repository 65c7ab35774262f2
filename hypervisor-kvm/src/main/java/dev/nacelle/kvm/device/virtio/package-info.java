// SPDX-License-Identifier: Apache-2.0
/**
 * Virtio 1.2 devices over MMIO: how an unmodified guest kernel gets its disks, its sockets and its
 * first random numbers. Everything here treats the driver as hostile.
 */
@NullMarked
package dev.nacelle.kvm.device.virtio;

import org.jspecify.annotations.NullMarked;
