// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.platform;

/**
 * What the guest has besides memory.
 *
 * @param cpus number of vCPUs
 * @param mmioDevices number of virtio-mmio devices, at {@link MachineLayout#deviceAddress}
 */
public record Hardware(int cpus, int mmioDevices) {}
