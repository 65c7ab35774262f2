// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

/**
 * What a driver does against the specification without harm to anybody: it has no effect and is
 * counted, by device, in {@link dev.nacelle.VmStatistics#ignored}. Known drivers do some of it,
 * mostly when they tidy up. What no driver can mean, and no device can go on with, is a {@link
 * dev.nacelle.kvm.device.GuestFault} instead: rings and descriptors that are none.
 */
public enum Ignored {
  /** Virtio 1.2 section 4.2.2.2 allows 32-bit accesses that are aligned, and no others. */
  REGISTER_WIDTH("a register written with other than 4 bytes"),
  /** Section 4.2.2; drivers of the legacy interface write its registers (section 4.2.4). */
  NO_REGISTER("a write to what is no writable register"),
  /** All fields but the balloon's {@code actual} are the device's (section 5.5.4). */
  CONFIGURATION("a write to the configuration space"),
  /** Section 4.2.2.2: a queue that QueueSizeMax says is not there. */
  NO_QUEUE("a queue used that there is not"),
  /** Section 4.2.2.2: what a queue is stays until QueueReady is 0. */
  READY_QUEUE("a queue changed while it was ready"),
  /** Section 4.2.3.2: queues are made ready before DRIVER_OK. */
  LATE_QUEUE("a queue made ready after DRIVER_OK"),
  /** Section 4.2.2: QueueReady is 0 or 1. */
  QUEUE_READY("a value of QueueReady that is none"),
  /** Section 3.1.1 step 5: features are settled with FEATURES_OK. */
  LATE_FEATURES("features written after FEATURES_OK"),
  /** Section 2.1.1: only a reset clears bits of the device status. */
  STATUS("a device status with bits taken back or unknown"),
  /** Section 3.1.1 step 8; the device then needs a reset (section 2.1.2). */
  EARLY_DRIVER_OK("DRIVER_OK without FEATURES_OK"),
  /** Sections 5.4.6.1 and 5.10.6: readable where the device writes, or the other way round. */
  DIRECTION("a buffer of the other direction"),
  /** Section 5.10.6: shorter than its header, or longer than its buffer. */
  PACKET("a packet that is not as long as it says"),
  /** Section 5.5.6: pages of the guest; {@link BalloonDevice} says how many at a time. */
  PAGES("pages given back that are none of the guest's, or too many at a time");

  private final String words;

  Ignored(String words) {
    this.words = words;
  }

  @Override
  public String toString() {
    return words;
  }
}
