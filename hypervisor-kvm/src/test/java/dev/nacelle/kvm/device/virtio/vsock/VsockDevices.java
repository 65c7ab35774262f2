// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import dev.nacelle.kvm.device.DeviceResources;

/** Devices of sockets for other monitors. */
public final class VsockDevices {
  /** What QEMU says of every queue over MMIO (hw/virtio/virtio-mmio.c: VIRTQUEUE_MAX_SIZE). */
  private static final int QEMU_QUEUE_SIZE = 1024;

  private VsockDevices() {}

  /** For QEMU's machines. */
  public static VsockDevice forQemu(DeviceResources resources, int guestCid) {
    return new VsockDevice(resources, guestCid, null, QEMU_QUEUE_SIZE);
  }
}
