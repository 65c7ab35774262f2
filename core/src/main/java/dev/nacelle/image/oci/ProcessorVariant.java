// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.image.Platform;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/**
 * Which variant of amd64 this machine's processor is: the micro-architecture levels of the x86-64
 * psABI, section 3.1.1, in the names that Linux has for their features.
 */
final class ProcessorVariant {
  static final Path CPUINFO = Path.of("/proc/cpuinfo");

  /** All that is read of it: the features come with the first processor. */
  private static final int MAX_BYTES = 64 << 10;

  /** What each level needs beside the one before; the first is v2. */
  private static final List<Set<String>> LEVELS =
      List.of(
          Set.of("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"),
          Set.of("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"),
          Set.of("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"));

  private ProcessorVariant() {}

  /**
   * The platform with the highest variant that a processor can run; the same one where it is not
   * the basic amd64, or nothing is known.
   *
   * @param cpuinfo {@link #CPUINFO}
   */
  static Platform highest(Platform platform, Path cpuinfo) throws IOException {
    if (!platform.architecture().equals("amd64") || !platform.variant().isEmpty()) {
      return platform;
    }
    Set<String> features = features(cpuinfo);
    int level = 1;
    for (Set<String> needed : LEVELS) {
      if (!features.containsAll(needed)) {
        break;
      }
      level++;
    }
    return Platform.of(platform.os(), platform.architecture(), "v" + level);
  }

  private static Set<String> features(Path cpuinfo) throws IOException {
    if (!Files.exists(cpuinfo)) {
      return Set.of();
    }
    try (InputStream in = Files.newInputStream(cpuinfo)) {
      return new String(in.readNBytes(MAX_BYTES), StandardCharsets.ISO_8859_1)
          .lines()
          .filter(line -> line.startsWith("flags"))
          .findFirst()
          .map(line -> Set.copyOf(List.of(line.split("\\s+", -1))))
          .orElse(Set.of());
    }
  }
}
