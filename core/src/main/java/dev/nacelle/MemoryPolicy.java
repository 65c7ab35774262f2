// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/** What the host's memory is spent on where a guest could be quick or small. */
public enum MemoryPolicy {
  /**
   * Quick guests: memory comes in huge pages where the host has them, and the kernel's code and
   * data are read into them. Of the kernel's file guests share the constants, nothing else. With
   * Hyper-V all of it counts against the host's commit limit from the start.
   */
  SPEED,

  /**
   * Many guests: memory comes in pages of 4 KiB as the guest touches it, and the kernel's file is
   * mapped copy-on-write, not read: guests of one kernel share what they do not write to. A machine
   * is made sooner and then boots longer, with a fault for every page. What the guest has freed
   * goes back to the host after some seconds, and the guest can be {@linkplain Sandbox#setMemory
   * asked for more}, where its kernel has the driver (CONFIG_VIRTIO_BALLOON). A guest that times
   * its own reads may learn which parts of the kernel's code the others run. With Hyper-V memory
   * counts as it is touched, and may be given back by the guest from Windows 10 2004 on; it is not
   * asked for, and nothing is shared.
   */
  DENSITY,

  /**
   * Guests that never wait for memory: all of it is there before they start, in pages of 2 MiB out
   * of those that the host has reserved (sysctl {@code vm.nr_hugepages}). Where too few are free,
   * or a limit of the cgroup (hugetlb) is in the way, there is no machine, and the exception says
   * how many are missing; a guest that runs lacks none. The host clears all of them first, which
   * takes longer the more there are. The memory is a multiple of 2 MiB, nothing of it is shared or
   * goes back before the end, and {@link Sandbox#setMemory} is refused. Linux counts such pages
   * neither as memory of this process nor as that of its cgroup. Not with Hyper-V, which has no
   * such pages.
   */
  HUGE_PAGES
}
