// SPDX-License-Identifier: Apache-2.0
/**
 * The virtio socket device (virtio 1.2 section 5.10): AF_VSOCK streams between the guest and this
 * process, without any socket of the host.
 */
@NullMarked
package dev.nacelle.kvm.device.virtio.vsock;

import org.jspecify.annotations.NullMarked;
