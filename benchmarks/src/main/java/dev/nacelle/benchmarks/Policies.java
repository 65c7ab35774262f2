// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import dev.nacelle.MemoryPolicy;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Which memory policies a benchmark compares. */
public final class Policies {
  private static final Path FREE =
      Path.of("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");

  private Policies() {}

  /** All; reserved huge pages only where this host has enough of them free for one guest. */
  public static List<MemoryPolicy> of(long bytes) {
    List<MemoryPolicy> policies = new ArrayList<>(List.of(MemoryPolicy.values()));
    try {
      long free = Files.exists(FREE) ? Long.parseLong(Files.readString(FREE).strip()) : 0;
      if (free * (2 << 20) < bytes) {
        policies.remove(MemoryPolicy.HUGE_PAGES);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return policies;
  }

  /** What a guest with it is called in a table. */
  public static String label(String what, MemoryPolicy policy) {
    return switch (policy) {
      case SPEED -> what;
      case DENSITY -> what + " (dense)";
      case HUGE_PAGES -> what + " (huge pages)";
    };
  }
}
