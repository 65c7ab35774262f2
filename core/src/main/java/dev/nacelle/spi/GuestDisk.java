// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import java.util.Objects;
import java.util.UUID;

/** How a guest finds a disk of its machine. */
public sealed interface GuestDisk {
  /**
   * A virtio block device, by its serial number (VIRTIO_BLK_T_GET_ID, virtio 1.2 section 5.2.6.1).
   *
   * @param serial as {@link VmSpec.Disk#serial()}
   */
  record VirtioSerial(String serial) implements GuestDisk {
    public VirtioSerial {
      Objects.requireNonNull(serial);
    }
  }

  /**
   * A unit of a SCSI controller on Hyper-V's VMBus, at its target 0:0.
   *
   * @param controller the controller's instance ID, which is its name in /sys/bus/vmbus/devices
   * @param lun logical unit number, 0 to 255
   */
  record Scsi(UUID controller, int lun) implements GuestDisk {
    /** What storvsc has at most (STORVSC_MAX_LUNS_PER_TARGET), less one. */
    private static final int MAX_LUN = 255;

    public Scsi {
      Objects.requireNonNull(controller);
      if (lun < 0 || lun > MAX_LUN) {
        throw new IllegalArgumentException("not a logical unit number: " + lun);
      }
    }
  }
}
