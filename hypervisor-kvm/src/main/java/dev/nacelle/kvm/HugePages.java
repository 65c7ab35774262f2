// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.Mapping;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * The pages of 2 MiB that this host has reserved, and what to do where they are too few
 * (Documentation/admin-guide/mm/hugetlbpage.rst).
 *
 * @param directory in sysfs, where the kernel counts them
 */
record HugePages(Path directory) {
  /** Those of this host. */
  static HugePages ofHost() {
    return new HugePages(Path.of("/sys/kernel/mm/hugepages/hugepages-2048kB"));
  }

  /**
   * Memory for a guest, all of it there.
   *
   * @param name of the machine, for messages
   * @param bytes its size
   * @throws HypervisorException when it is no multiple of 2 MiB, or the host has not enough
   */
  GuestMemory allocate(String name, long bytes) {
    if (bytes % Mapping.HUGE_PAGE != 0) {
      throw refuse(
          name,
          "has " + bytes + " bytes of memory, which are no whole huge pages of 2 MiB",
          "Give it a multiple of 2 MiB, or another MemoryPolicy.",
          null);
    }
    long wanted = bytes / Mapping.HUGE_PAGE;
    try {
      return GuestMemory.ofHugePages(bytes);
    } catch (ErrnoException e) {
      throw refusal(name, wanted, e);
    }
  }

  /** Why so many pages were not to be had, and what helps. */
  HypervisorException refusal(String name, long wanted, ErrnoException e) {
    String wants = "wants " + wanted + " huge pages of 2 MiB";
    if (!Files.exists(directory)) {
      return refuse(
          name,
          wants + ", which this host's kernel does not have",
          "Use a kernel with CONFIG_HUGETLBFS, or another MemoryPolicy.",
          e);
    }
    if (e.errno() == Errno.ENOMEM || e.errno() == Errno.ENOSPC) {
      try {
        long reserved = count("nr_hugepages");
        // Those of others that were promised and not touched yet are among the free ones.
        long free = Math.max(0, count("free_hugepages") - count("resv_hugepages"));
        if (free < wanted) {
          return refuse(
              name,
              wants
                  + ", and of the "
                  + reserved
                  + " that this host has reserved "
                  + free
                  + " are free",
              "Reserve more of them, as root: sysctl vm.nr_hugepages="
                  + (reserved + wanted - free)
                  + " (early, while memory is in one piece), or use another MemoryPolicy.",
              e);
        }
        return refuse(
            name,
            wants
                + ", of which "
                + free
                + " are free, but this process may not have them: "
                + e.getMessage(),
            "Raise the limit of its cgroup (hugetlb.2MB.max; of a Kubernetes container"
                + " hugepages-2Mi), let it use the memory nodes (cpuset) that have free ones, or use"
                + " another MemoryPolicy.",
            e);
      } catch (IOException | NumberFormatException unreadable) {
        e.addSuppressed(unreadable);
      }
    }
    return refuse(
        name,
        wants + ": " + e.getMessage(),
        "Use another MemoryPolicy, or see what refuses them.",
        e);
  }

  private long count(String what) throws IOException {
    return Long.parseLong(Files.readString(directory.resolve(what)).strip());
  }

  private static HypervisorException refuse(
      String name, String why, String remedy, @Nullable Throwable cause) {
    return new HypervisorException(
        Stage.CREATE, "the virtual machine " + name + " " + why, remedy, cause);
  }
}
