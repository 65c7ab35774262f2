// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/** What there is to know of this machine. */
final class Host {
  static final String NEEDS_ROOT = "it needs root: run as root";

  private Host() {}

  static boolean isRoot() {
    try {
      return (int) Files.getAttribute(Path.of("/proc/self"), "unix:uid") == 0;
    } catch (IOException | UnsupportedOperationException e) {
      return false;
    }
  }

  /** A program of the host's, as PATH finds it. */
  static Optional<Path> program(String name) {
    String path = System.getenv().getOrDefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    return Stream.of(path.split(":", -1))
        .map(directory -> Path.of(directory, name))
        .filter(Files::isExecutable)
        .findFirst();
  }

  static String text(InetSocketAddress address) {
    return address.getAddress().getHostAddress() + ":" + address.getPort();
  }

  /** What a process has of memory: its share of what it has mapped (PSS); 0 where it has ended. */
  static long memory(long pid) throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/" + pid + "/smaps_rollup"))) {
      return lines
          .filter(line -> line.startsWith("Pss:"))
          .mapToLong(Host::kibibytes)
          .findFirst()
          .orElse(0);
    } catch (NoSuchFileException e) {
      return 0;
    } catch (UncheckedIOException e) {
      return 0; // ended while it was read: ESRCH
    }
  }

  /** Of these processes, and all that this one has started and those have; each once. */
  static long memoryOfAll(Collection<Long> others) throws IOException {
    Set<Long> processes = new HashSet<>(others);
    ProcessHandle.current().descendants().map(ProcessHandle::pid).forEach(processes::add);
    long bytes = 0;
    for (long process : processes) {
      bytes += memory(process);
    }
    return bytes;
  }

  /** A value of /proc/meminfo, in bytes. */
  static long machineMemory(String name) throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/meminfo"))) {
      return lines
          .filter(line -> line.startsWith(name + ":"))
          .mapToLong(Host::kibibytes)
          .findFirst()
          .orElse(0);
    }
  }

  private static long kibibytes(String line) {
    String[] words = line.split(" +", -1);
    return Long.parseLong(words[1]) * 1024;
  }

  /** The processor's model. */
  static String processor() throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
      return lines
          .filter(line -> line.startsWith("model name"))
          .map(line -> line.substring(line.indexOf(':') + 1).strip())
          .findFirst()
          .orElse("unknown");
    }
  }
}
