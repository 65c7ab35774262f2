// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.MemoryPolicy;
import dev.nacelle.RateLimits;
import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.platform.Hardware;
import java.util.List;
import java.util.OptionalDouble;

/**
 * What a virtual machine is made of, besides its virtio socket, which is its first device.
 *
 * @param name for messages and thread names
 * @param memoryBytes size of the RAM, a multiple of 4096
 * @param cpus number of vCPUs
 * @param consoleBytes how much of the console's end is kept
 * @param payload what runs in it
 * @param devices its other memory-mapped devices, in their order
 * @param rateLimits the socket's; the other devices have theirs
 * @param coreScheduling whether nothing else runs on a core that its vCPUs run on, where the host
 *     can see to that
 * @param cpuQuota how many processors' time its vCPUs may have
 * @param niceness how much its vCPUs give way to other threads
 * @param memoryPolicy where its memory comes from, and whether its guest is asked for it
 */
record MachineSpec(
    String name,
    long memoryBytes,
    int cpus,
    int consoleBytes,
    Payload payload,
    List<DeviceFactory> devices,
    RateLimits rateLimits,
    boolean coreScheduling,
    OptionalDouble cpuQuota,
    int niceness,
    MemoryPolicy memoryPolicy) {
  /** Without a limit of CPU time, of memory for speed. */
  MachineSpec(
      String name,
      long memoryBytes,
      int cpus,
      int consoleBytes,
      Payload payload,
      List<DeviceFactory> devices,
      RateLimits rateLimits,
      boolean coreScheduling) {
    this(
        name,
        memoryBytes,
        cpus,
        consoleBytes,
        payload,
        devices,
        rateLimits,
        coreScheduling,
        OptionalDouble.empty(),
        0,
        MemoryPolicy.SPEED);
  }

  /** Whether its guest is asked for memory, and gives back what it does not use. */
  boolean balloon() {
    return memoryPolicy == MemoryPolicy.DENSITY;
  }

  /** What its guest is told of: beside those that were asked for there is a socket device. */
  Hardware hardware() {
    return new Hardware(cpus, 1 + devices.size() + (balloon() ? 1 : 0));
  }

  /** Without limits of rates, with core scheduling. */
  MachineSpec(
      String name,
      long memoryBytes,
      int cpus,
      int consoleBytes,
      Payload payload,
      List<DeviceFactory> devices) {
    this(name, memoryBytes, cpus, consoleBytes, payload, devices, RateLimits.NONE, true);
  }
}
