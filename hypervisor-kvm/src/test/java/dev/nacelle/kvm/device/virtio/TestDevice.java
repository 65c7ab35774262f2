// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.DeviceResources;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** A device that does nothing but say what it was told. */
final class TestDevice extends VirtioDevice {
  static final byte[] CONFIGURATION = {1, 2, 3, 4, 5, 6, 7};
  static final int ID = 42;
  static final long FEATURE = 1 << 7;

  /** The queues for which process was called. */
  final List<Integer> processed = new ArrayList<>();

  int activations;
  int resets;

  TestDevice(DeviceResources resources, int... queueSizes) {
    super(resources, "test-device", ID, FEATURE, CONFIGURATION, queueSizes);
  }

  VirtQueue active(int index) {
    return Objects.requireNonNull(queue(index));
  }

  boolean hasQueue(int index) {
    return queue(index) != null;
  }

  @Override
  protected void process(int queue) {
    processed.add(queue);
  }

  @Override
  protected void onActivate(long negotiated) {
    activations++;
  }

  @Override
  protected void onReset() {
    resets++;
  }
}
