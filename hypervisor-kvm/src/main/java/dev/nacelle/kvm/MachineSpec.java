// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.RateLimits;
import dev.nacelle.kvm.boot.Payload;
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
 * @param balloon whether its guest is asked for memory, and gives back what it does not use
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
    boolean balloon) {
  /** Without a limit of CPU time and a balloon. */
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
        false);
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
