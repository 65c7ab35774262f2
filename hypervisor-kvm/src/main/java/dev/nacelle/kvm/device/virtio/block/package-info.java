// SPDX-License-Identifier: Apache-2.0
/**
 * The virtio block device (virtio 1.2 section 5.2): {@link
 * dev.nacelle.kvm.device.virtio.block.BlockDevice} and the queue, {@link
 * dev.nacelle.kvm.device.virtio.block.Request} what a request asks for step by step, {@link
 * dev.nacelle.kvm.device.virtio.block.DiskEngine} how the image is read and written.
 */
@NullMarked
package dev.nacelle.kvm.device.virtio.block;

import org.jspecify.annotations.NullMarked;
