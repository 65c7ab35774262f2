// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a driver has made of a virtio device, as a plain value: with the guest's memory it is all
 * that the registers and the queues are, apart from threads and descriptors. What a device keeps
 * beyond that does not outlive a restore: a disk's image is the host's, and socket connections are
 * reset (virtio 1.2 section 5.10.6.7).
 *
 * @param deviceId virtio 1.2 section 5
 * @param status the device status
 * @param deviceFeaturesSelect DeviceFeaturesSel
 * @param driverFeaturesSelect DriverFeaturesSel
 * @param driverFeatures what the driver has accepted of the first 64 features
 * @param unknownFeatures whether it has accepted any beyond those, which none offers
 * @param queueSelect QueueSel
 * @param interruptStatus InterruptStatus
 * @param queues the registers of each queue
 * @param working each queue that is in use; null for one that is not, empty before DRIVER_OK
 */
public record TransportState(
    int deviceId,
    int status,
    int deviceFeaturesSelect,
    int driverFeaturesSelect,
    long driverFeatures,
    boolean unknownFeatures,
    int queueSelect,
    int interruptStatus,
    List<Registers> queues,
    List<@Nullable QueueState> working) {

  /** Copies the lists. */
  public TransportState {
    queues = List.copyOf(queues);
    // List.copyOf takes no null.
    working = Collections.unmodifiableList(new ArrayList<>(working));
  }

  /**
   * The registers of one queue.
   *
   * @param ready QueueReady
   * @param layout as written, not checked before DRIVER_OK
   */
  public record Registers(boolean ready, QueueLayout layout) {}
}
