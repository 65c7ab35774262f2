// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

/**
 * Where a queue is, as the driver wrote it (virtio 1.2 section 4.2.3.2), not yet checked.
 *
 * @param size number of descriptors
 * @param descriptors guest physical address of the descriptor table
 * @param available of the available ring (driver area)
 * @param used of the used ring (device area)
 */
public record QueueLayout(int size, long descriptors, long available, long used) {}
