// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import dev.nacelle.benchmarks.MemoryUse;
import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Kvm;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Weighs idle machines: what the process and the kernel hold with a number of them, less what they
 * hold without, per machine, apart from the guests' RAM. The heap is counted by what is reachable;
 * it must have a fixed size and be touched beforehand, so that its pages do not count twice.
 */
final class HostMemory {
  private static final long MEMORY = 128 << 20;
  private static final int CONSOLE_BYTES = 64 * 1024;

  private final KvmHypervisor hypervisor;
  private final int count;

  private HostMemory(KvmHypervisor hypervisor, int count) {
    this.hypervisor = hypervisor;
    this.count = count;
  }

  /**
   * @param arguments how many machines at once, and how often
   */
  public static void main(String... arguments) {
    int count = Integer.parseInt(arguments[0]);
    int rounds = Integer.parseInt(arguments[1]);
    Map<String, Samples> samples = new LinkedHashMap<>();
    try (KvmHypervisor hypervisor = new KvmHypervisor(Kvm.open())) {
      HostMemory memory = new HostMemory(hypervisor, count);
      memory.weigh(); // classes, compiled code, thread-local buffers
      for (int round = 0; round < rounds; round++) {
        memory
            .weigh()
            .forEach((part, bytes) -> samples.computeIfAbsent(part, p -> new Samples()).add(bytes));
      }
    }
    Table table =
        new Table("KiB per machine, of " + count + " idle ones", "median", "min", "max", "rounds");
    try (Results results = new Results("memory", "part,round,bytes_per_machine")) {
      samples.forEach(
          (part, bytes) -> {
            results.add(part, bytes);
            table.row(
                part,
                Table.kib(bytes.median()),
                Table.kib(bytes.min()),
                Table.kib(bytes.max()),
                String.valueOf(bytes.count()));
          });
    }
    System.out.print(table);
  }

  private Map<String, Long> weigh() {
    MemoryUse before = MemoryUse.now(List.of());
    List<KvmVirtualMachine> machines = new ArrayList<>();
    List<MemoryUse.Range> guests = new ArrayList<>();
    try {
      for (int i = 0; i < count; i++) {
        KvmVirtualMachine machine = hypervisor.create(spec(i, guests));
        machines.add(machine);
        machine.start();
      }
      for (KvmVirtualMachine machine : machines) {
        while (machine.statistics().firstRunNanoTime().isEmpty()) {
          Thread.yield();
        }
      }
      MemoryUse with = MemoryUse.now(guests);
      Map<String, Long> parts = new LinkedHashMap<>();
      with.parts()
          .forEach((part, bytes) -> parts.put(part, (bytes - before.parts().get(part)) / count));
      return parts;
    } finally {
      machines.forEach(KvmVirtualMachine::close);
    }
  }

  private static MachineSpec spec(int number, List<MemoryUse.Range> guests) {
    return new MachineSpec(
        "bench" + number,
        MEMORY,
        1,
        CONSOLE_BYTES,
        (memory, hardware) -> {
          guests.add(range(memory));
          return BareGuest.load(memory, BareGuest.HALT);
        },
        List.of(DeviceFactory.entropy(null)));
  }

  private static MemoryUse.Range range(GuestMemory memory) {
    List<MemoryUse.Range> ranges = new ArrayList<>();
    memory.forEachRange(
        (gpa, mapping, offset, length) -> {
          Pointer start = Native.getDirectBufferPointer(mapping.buffer(offset, 1));
          ranges.add(new MemoryUse.Range(Pointer.nativeValue(start), length));
        });
    if (ranges.size() != 1) {
      throw new IllegalStateException("RAM in " + ranges.size() + " ranges");
    }
    return ranges.get(0);
  }
}
