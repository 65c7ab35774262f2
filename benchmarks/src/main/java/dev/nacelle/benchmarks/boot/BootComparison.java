// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.boot;

import dev.nacelle.MemoryPolicy;
import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.engine.SandboxParameters;
import dev.nacelle.kvm.KvmHypervisorProvider;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Boots one guest in Nacelle and in QEMU, by turns, to the agent's dial. Needs a KVM that boots
 * kernels, and vhost_vsock.
 */
public final class BootComparison {
  private static final int MEMORY_MIB = 128;

  /**
   * As people tune it, but with a clock: without one, Debian's kernel polls for it, for seconds in
   * the lab.
   */
  private static final String TUNED = ",pic=off,pit=off,rtc=on,x-option-roms=off";

  private final Boot.Guest guest;
  private final List<Boot> systems = new ArrayList<>();

  private BootComparison(Boot.Guest guest) {
    this.guest = guest;
  }

  /**
   * @param arguments vmlinux, initramfs, how many boots of each count, how many of each before do
   *     not, and what to compare: "systems", or "qemu" for the latter's configurations
   */
  public static void main(String... arguments) throws IOException {
    Path directory = Files.createTempDirectory("boot");
    BootComparison comparison =
        new BootComparison(
            new Boot.Guest(
                Boot.copy(Path.of(arguments[0]), directory),
                Boot.copy(Path.of(arguments[1]), directory),
                SandboxParameters.usual(),
                MEMORY_MIB,
                MemoryPolicy.SPEED));
    int rounds = Integer.parseInt(arguments[2]);
    int warmUps = Integer.parseInt(arguments[3]);
    HypervisorProvider provider = new KvmHypervisorProvider();
    try (Hypervisor hypervisor = provider.open();
        VsockListener listener = new VsockListener(NacelleBoot.AGENT_PORT)) {
      if (arguments[4].equals("systems")) {
        comparison.systems.add(new NacelleBoot(hypervisor));
        comparison.systems.add(new QemuBoot("qemu", TUNED, true, listener, directory));
        comparison.compare("boot", rounds, warmUps);
        comparison.count();
      } else {
        for (String option : List.of("rtc=on", "rtc=off", "pit=on", "pic=on,pit=on")) {
          for (boolean qboot : new boolean[] {true, false}) {
            String base = option.contains("rtc") ? ",pic=off,pit=off," : ",rtc=on,";
            comparison.systems.add(
                new QemuBoot(
                    (base + option).substring(1) + (qboot ? " qboot" : " seabios"),
                    base + option + ",x-option-roms=off",
                    qboot,
                    listener,
                    directory));
          }
        }
        comparison.compare("qemu-options", rounds, warmUps);
      }
    }
  }

  private void compare(String name, int rounds, int warmUps) {
    Map<Boot, Samples> ready = new LinkedHashMap<>();
    Map<Boot, Map<String, Samples>> counters = new LinkedHashMap<>();
    systems.forEach(system -> ready.put(system, new Samples()));
    systems.forEach(system -> counters.put(system, new TreeMap<>()));
    for (int round = -warmUps; round < rounds; round++) {
      for (Boot system : systems) {
        Boot.Result result = system.run(guest);
        System.out.printf(
            "%s %s: %s ms%n",
            round < 0 ? "warm-up" : "boot " + (round + 1),
            system.name(),
            Table.millis(result.readyNanos()));
        if (round >= 0) {
          ready.get(system).add(result.readyNanos());
          result
              .counters()
              .forEach(
                  (key, value) ->
                      counters.get(system).computeIfAbsent(key, k -> new Samples()).add(value));
        }
      }
    }
    Table times = Table.ofMillis("call or fork to the agent's dial");
    try (Results results = new Results(name, "system,what,round,value")) {
      for (Boot system : systems) {
        times.nanos(system.name(), ready.get(system));
        Samples samples = ready.get(system);
        for (int i = 0; i < samples.count(); i++) {
          results.add('"' + system.name() + '"', "ready nanos", i, samples.get(i));
        }
        counters
            .get(system)
            .forEach(
                (key, values) -> {
                  for (int i = 0; i < values.count(); i++) {
                    results.add('"' + system.name() + '"', key, i, values.get(i));
                  }
                });
      }
    }
    System.out.println();
    System.out.println(times);
    for (Boot system : systems) {
      printCounters(system, counters.get(system));
    }
  }

  private static void printCounters(Boot system, Map<String, Samples> counters) {
    if (counters.isEmpty()) {
      return;
    }
    Table table = new Table(system.name() + ", per boot", "median", "min", "max");
    long exits = 0;
    for (Map.Entry<String, Samples> counter : counters.entrySet()) {
      Samples values = counter.getValue();
      table.row(counter.getKey(), "" + values.median(), "" + values.min(), "" + values.max());
      exits += counter.getKey().startsWith("nanos") ? 0 : values.median();
    }
    System.out.println(table.row("exits together", "" + exits, "", ""));
  }

  /** One more boot of each, counted by the kernel. */
  private void count() {
    if (!KvmTrace.available()) {
      System.out.println("No trace points of KVM here: QEMU's exits are not counted.");
      return;
    }
    Map<Boot, Map<String, Long>> counted = new LinkedHashMap<>();
    Set<String> keys = new HashSet<>();
    List<String> heading = new ArrayList<>(List.of("one boot, as KVM counts"));
    for (Boot system : systems) {
      Map<String, Long> counters = KvmTrace.count(() -> system.run(guest));
      counted.put(system, counters);
      keys.addAll(counters.keySet());
      heading.add(system.name());
    }
    Table table = new Table(heading.toArray(String[]::new));
    try (Results results = new Results("boot-trace", "system,counter,value")) {
      for (String key : keys.stream().sorted().toList()) {
        List<String> row = new ArrayList<>(List.of(key));
        for (Boot system : systems) {
          long value = counted.get(system).getOrDefault(key, 0L);
          row.add("" + value);
          results.add(system.name(), '"' + key + '"', value);
        }
        table.row(row.toArray(String[]::new));
      }
    }
    System.out.print(table);
  }
}
