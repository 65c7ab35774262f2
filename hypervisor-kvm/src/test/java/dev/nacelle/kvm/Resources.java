// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * What this process holds of what a virtual machine takes.
 *
 * @param descriptors open files of KVM, eventfd and epoll, and disk images of tests
 * @param mappedKib sizes of the mappings of vCPUs, and of guest memory; neighbours may be one
 *     mapping, so their number says nothing
 * @param threads of virtual machines
 */
record Resources(long descriptors, long mappedKib, long threads) {
  /** How the names of JUnit's temporary directories start. */
  private static final String TEMPORARY =
      Path.of(System.getProperty("java.io.tmpdir"), "junit").toString();

  static Resources now() {
    try (Stream<Path> files = Files.list(Path.of("/proc/self/fd"))) {
      return new Resources(
          files.map(Resources::target).filter(Resources::isOurs).count(),
          mappedKib(Files.readAllLines(Path.of("/proc/self/smaps"))),
          Thread.getAllStackTraces().keySet().stream()
              .filter(thread -> thread.getName().startsWith("nacelle-"))
              .count());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * @param smaps proc(5): for each mapping a line with its name, its size and, last, its flags.
   *     Nothing but guest memory is in neither child nor core dump (dc, dd).
   */
  private static long mappedKib(List<String> smaps) {
    long sum = 0;
    long size = 0;
    boolean ofVcpu = false;
    for (String line : smaps) {
      if (line.startsWith("Size:")) {
        size = Long.parseLong(line.replaceAll("[^0-9]", ""));
      } else if (line.startsWith("VmFlags:")) {
        String flags = line + " ";
        if (ofVcpu || (flags.contains(" dc ") && flags.contains(" dd "))) {
          sum += size;
        }
        ofVcpu = false;
      } else {
        ofVcpu |= line.contains("kvm-vcpu");
      }
    }
    return sum;
  }

  private static boolean isOurs(String target) {
    return target.contains("kvm-")
        || target.contains("[eventfd]")
        || target.contains("[eventpoll]")
        || target.startsWith(TEMPORARY);
  }

  private static String target(Path descriptor) {
    try {
      return Files.readSymbolicLink(descriptor).toString();
    } catch (IOException e) {
      return ""; // the one that lists the directory
    }
  }
}
