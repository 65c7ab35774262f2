// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.nacelle.kvm.sys.KvmCpuid;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;

/**
 * CPUID of a server's processor as a kernel of its host let a guest see it; processors.txt says how
 * it was recorded.
 */
record RecordedProcessor(String name, String kernel, CpuidTable cpuid) {
  static final List<String> KERNELS = List.of("5.10", "6.1", "6.18");

  /** Each processor under each kernel. */
  static Stream<RecordedProcessor> all() {
    return names().stream().flatMap(name -> KERNELS.stream().map(kernel -> of(name, kernel)));
  }

  static List<String> names() {
    return lines().stream()
        .filter(line -> line.startsWith("processor "))
        .map(line -> line.substring("processor ".length()))
        .toList();
  }

  static RecordedProcessor of(String name, String kernel) {
    CpuidTable cpuid = new CpuidTable();
    boolean its = false;
    for (String line : lines()) {
      String[] words = line.split(" ");
      if (words[0].equals("processor")) {
        its = words[1].equals(name);
      } else if (its && (words.length == 6 || Set.of(words[6].split(",")).contains(kernel))) {
        cpuid.set(
            hex(words[0]),
            hex(words[1]),
            hex(words[2]),
            hex(words[3]),
            hex(words[4]),
            hex(words[5]));
      }
    }
    return new RecordedProcessor(name, kernel, cpuid);
  }

  private static int hex(String word) {
    return Integer.parseUnsignedInt(word, 16);
  }

  private static List<String> lines() {
    try (InputStream in = RecordedProcessor.class.getResourceAsStream("processors.txt")) {
      String text = new String(Objects.requireNonNull(in).readAllBytes(), UTF_8);
      return new ArrayList<>(
          text.lines().filter(line -> !line.isEmpty() && !line.startsWith("#")).toList());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What the policy makes of it. */
  CpuidTable told(int id, int cpus) {
    return new CpuidTable(new CpuidPolicy(offered(), true).forVcpu(id, cpus));
  }

  /** As KVM would say it. */
  KvmCpuid offered() {
    return cpuid.toKvm();
  }

  @Override
  public String toString() {
    return name + " under " + kernel;
  }
}
