// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.internal.OpenFiles;
import dev.nacelle.spi.MachineThread;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;

/**
 * What this process holds of what a virtual machine takes.
 *
 * @param descriptors open files of KVM, eventfd, epoll and io_uring, and disk images of tests
 * @param mappedKib sizes of the mappings of vCPUs, and of guest memory; neighbours may be one
 *     mapping, so their number says nothing
 * @param threads of virtual machines
 */
record Resources(long descriptors, long mappedKib, long threads) {
  /** How the names of JUnit's temporary directories start. */
  private static final String TEMPORARY =
      Path.of(System.getProperty("java.io.tmpdir"), "junit").toString();

  static Resources now() {
    try {
      return new Resources(
          OpenFiles.targets().stream().map(Path::toString).filter(Resources::isOurs).count(),
          MemoryRegion.all().stream()
              .filter(region -> region.name().contains("kvm-vcpu") || region.isKeptPrivate())
              .mapToLong(region -> region.kib().get("Size"))
              .sum(),
          Thread.getAllStackTraces().keySet().stream()
              .filter(MachineThread.class::isInstance)
              .count());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static boolean isOurs(String target) {
    return target.contains("kvm-")
        || target.contains("[eventfd]")
        || target.contains("[eventpoll]")
        || target.contains("[io_uring]")
        || target.startsWith(TEMPORARY);
  }
}
