// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

/**
 * A working queue as a plain value. The indices are free-running 16-bit counters.
 *
 * @param layout where it is
 * @param nextAvailable index of the available entry that is taken next
 * @param nextUsed index of the used entry that is written next
 * @param signalledUsed what nextUsed was when the driver was last asked whether it wants an
 *     interrupt
 */
public record QueueState(QueueLayout layout, int nextAvailable, int nextUsed, int signalledUsed) {}
