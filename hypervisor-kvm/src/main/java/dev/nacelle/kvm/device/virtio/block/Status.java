// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

/** How a request ended (virtio 1.2 section 5.2.6). */
enum Status {
  OK(0),
  IO_ERROR(1),
  UNSUPPORTED(2);

  /** What the driver is told. */
  final byte number;

  Status(int number) {
    this.number = (byte) number;
  }
}
