// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

/** Feature bits that do not depend on the device's type (virtio 1.2 section 6). */
final class VirtioFeatures {
  /** VIRTIO_F_INDIRECT_DESC (28): descriptors may refer to tables of descriptors. */
  static final long INDIRECT_DESC = 1L << 28;

  /** VIRTIO_F_EVENT_IDX (29): both sides say up to which index they want no notification. */
  static final long EVENT_IDX = 1L << 29;

  /** VIRTIO_F_VERSION_1 (32): not a legacy driver. */
  static final long VERSION_1 = 1L << 32;

  private VirtioFeatures() {}
}
