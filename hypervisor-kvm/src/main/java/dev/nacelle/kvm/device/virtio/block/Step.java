// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

/** What is done to an image by one system call. */
enum Step {
  READ,
  WRITE,
  /** What was written is on the host's disk when it ends (fdatasync). */
  SYNC,
  /** A range reads as zeros, and its space is the host's again. */
  PUNCH,
  /** A range reads as zeros, and keeps its space. */
  ZERO;

  /** Whether guest memory is read or written. */
  boolean usesMemory() {
    return this == READ || this == WRITE;
  }
}
