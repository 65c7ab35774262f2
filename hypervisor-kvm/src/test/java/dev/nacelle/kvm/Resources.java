// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * What this process holds of what a virtual machine takes.
 *
 * @param descriptors open files of KVM, eventfd and epoll
 * @param mappings mappings of vCPUs, and of guest memory
 * @param threads of virtual machines
 */
record Resources(long descriptors, long mappings, long threads) {
  private static final String MEMORY_KIB = Long.toString(TestMachines.MEMORY / 1024);

  static Resources now() {
    try (Stream<Path> files = Files.list(Path.of("/proc/self/fd"));
        Stream<String> maps = Files.lines(Path.of("/proc/self/smaps"))) {
      return new Resources(
          files.map(Resources::target).filter(Resources::isOurs).count(),
          maps.filter(
                  line -> line.contains("kvm-vcpu") || line.matches("Size: +" + MEMORY_KIB + " kB"))
              .count(),
          Thread.getAllStackTraces().keySet().stream()
              .filter(thread -> thread.getName().startsWith("nacelle-"))
              .count());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static boolean isOurs(String target) {
    return target.contains("kvm-")
        || target.contains("[eventfd]")
        || target.contains("[eventpoll]");
  }

  private static String target(Path descriptor) {
    try {
      return Files.readSymbolicLink(descriptor).toString();
    } catch (IOException e) {
      return ""; // the one that lists the directory
    }
  }
}
