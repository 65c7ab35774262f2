// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.boot;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.benchmarks.Policies;
import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.engine.SandboxParameters;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.GuestAgentBinary;
import dev.nacelle.kernel.store.KernelStore;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kvm.KvmHypervisorProvider;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Boots several kernels with each memory policy, by turns, to the agent's dial, and says how large
 * they are and what they keep of a machine's memory. Needs a KVM that boots kernels.
 */
public final class KernelComparison {
  private static final int MEMORY_MIB = 128;
  private static final int WARM_UPS = 1;
  private static final Pattern KIB = Pattern.compile("(\\w+): +(\\d+) kB");

  private final Map<String, Boot.Guest> guests = new LinkedHashMap<>();
  private final Map<String, Samples> ready = new LinkedHashMap<>();
  private final Map<String, Map<String, Samples>> counters = new LinkedHashMap<>();

  private KernelComparison() {}

  /**
   * @param arguments the cache's directory, the reference of an image with Python, how many boots
   *     of each kernel count, and the kernels' references; all are in the cache
   */
  public static void main(String... arguments) throws IOException {
    KernelComparison comparison = new KernelComparison();
    Path cache = Path.of(arguments[0]);
    List<String> kernels = List.of(arguments).subList(3, arguments.length);
    comparison.prepare(new KernelStore(cache.resolve("kernels")), kernels);
    comparison.boot(Integer.parseInt(arguments[2]));
    comparison.printTimes();
    comparison.printExits();
    comparison.printSizes(cache, arguments[1]);
  }

  private void prepare(KernelStore store, List<String> kernels) throws IOException {
    GuestAgentBinary agent = GuestAgentBinary.load();
    Path directory = Files.createTempDirectory("kernels");
    for (String name : kernels) {
      ResolvedKernel kernel = store.resolve(KernelRef.parse(name));
      Path vmlinux = Boot.copy(kernel.vmlinux(), directory);
      Path initramfs =
          Boot.copy(
              store.initramfs(kernel, agent, new KvmHypervisorProvider().drivers()), directory);
      for (MemoryPolicy policy : Policies.of((long) MEMORY_MIB << 20)) {
        String label = Policies.label(name, policy);
        guests.put(
            label,
            new Boot.Guest(vmlinux, initramfs, SandboxParameters.usual(), MEMORY_MIB, policy));
        ready.put(label, new Samples());
        counters.put(label, new TreeMap<>());
      }
    }
  }

  private void boot(int rounds) {
    HypervisorProvider provider = new KvmHypervisorProvider();
    try (Hypervisor hypervisor = provider.open()) {
      NacelleBoot boot = new NacelleBoot(hypervisor);
      for (int round = -WARM_UPS; round < rounds; round++) {
        for (String kernel : guests.keySet()) {
          Boot.Result result = boot.run(guests.get(kernel));
          System.out.printf(
              "%s %s: %s ms%n",
              round < 0 ? "warm-up" : "boot " + (round + 1),
              kernel,
              Table.millis(result.readyNanos()));
          if (round >= 0) {
            ready.get(kernel).add(result.readyNanos());
            result
                .counters()
                .forEach(
                    (counter, value) ->
                        counters
                            .get(kernel)
                            .computeIfAbsent(counter, c -> new Samples())
                            .add(value));
          }
        }
      }
    }
  }

  private void printTimes() {
    Table times = Table.ofMillis("call to the agent's dial, " + MEMORY_MIB + " MiB, 1 vCPU");
    try (Results results = new Results("kernels", "kernel,what,round,value")) {
      for (String kernel : guests.keySet()) {
        times.nanos(kernel, ready.get(kernel));
        results.add(kernel + ",ready nanos", ready.get(kernel));
        counters
            .get(kernel)
            .forEach((counter, values) -> results.add(kernel + ",\"" + counter + '"', values));
      }
    }
    System.out.println();
    System.out.println(times);
  }

  private void printExits() {
    TreeSet<String> reasons = new TreeSet<>();
    counters.values().forEach(of -> reasons.addAll(of.keySet()));
    List<String> heading = new ArrayList<>(List.of("exits of a boot, median"));
    heading.addAll(guests.keySet());
    Table table = new Table(heading.toArray(String[]::new));
    for (String reason : reasons) {
      List<String> row = new ArrayList<>(List.of(reason));
      for (String kernel : guests.keySet()) {
        Samples values = counters.get(kernel).get(reason);
        row.add(values == null ? "0" : "" + values.median());
      }
      table.row(row.toArray(String[]::new));
    }
    System.out.println(table);
  }

  private void printSizes(Path cache, String image) throws IOException {
    Table table =
        new Table("KiB", "vmlinux", "initramfs", "not MemTotal", "not MemAvailable", "Python");
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(cache).build()) {
      for (Map.Entry<String, Boot.Guest> entry : guests.entrySet()) {
        Boot.Guest guest = entry.getValue();
        if (guest.memoryPolicy() != MemoryPolicy.SPEED) {
          continue;
        }
        SandboxSpec spec =
            SandboxSpec.builder()
                .image(image)
                .kernel(entry.getKey())
                .memory(DataSize.mebibytes(MEMORY_MIB))
                .startTimeout(Duration.ofMinutes(10))
                .build();
        try (Sandbox sandbox = nacelle.start(spec)) {
          Map<String, Long> memory = meminfo(sandbox.exec("cat", "/proc/meminfo"));
          ExecResult python = sandbox.exec("python3", "-c", "print(6 * 7)");
          table.row(
              entry.getKey(),
              Table.kib(Files.size(guest.kernel())),
              Table.kib(Files.size(guest.initramfs())),
              "" + (MEMORY_MIB * 1024L - memory.getOrDefault("MemTotal", 0L)),
              "" + (MEMORY_MIB * 1024L - memory.getOrDefault("MemAvailable", 0L)),
              python.stdout().text().equals("42\n") ? "runs" : "" + python);
        }
      }
    }
    System.out.print(table);
  }

  private static Map<String, Long> meminfo(ExecResult result) {
    Map<String, Long> values = new TreeMap<>();
    Matcher lines = KIB.matcher(result.stdout().text());
    while (lines.find()) {
      values.put(lines.group(1), Long.parseLong(lines.group(2)));
    }
    return values;
  }
}
