// SPDX-License-Identifier: Apache-2.0
/** Tests of the socket device against a guest that the tests play themselves. */
@NullMarked
package dev.nacelle.kvm.device.virtio.vsock;

import org.jspecify.annotations.NullMarked;
