// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

/** How a request ended (virtio 1.2 section 5.2.6); the ordinals are the numbers there. */
enum Status {
  OK,
  IO_ERROR,
  UNSUPPORTED
}
