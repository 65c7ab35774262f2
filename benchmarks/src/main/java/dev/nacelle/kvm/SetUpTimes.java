// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.DataSize;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.benchmarks.Policies;
import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.kvm.boot.LinuxKernel;
import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.VirtualMachine;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;

/**
 * Times the set-up of a virtual machine as a service's thread sees it: from the call of create to
 * the moment before the first KVM_RUN, and close. The machine is the one that every sandbox gets,
 * without a disk.
 */
final class SetUpTimes {
  private static final long MEMORY = 128 << 20;
  private static final int CONSOLE_BYTES = 64 * 1024;

  private final KvmHypervisor hypervisor;
  private final int rounds;
  private final Table table = Table.ofMillis("1 vCPU, 128 MiB");
  private final Results results = new Results("setup", "what,round,nanos");

  private SetUpTimes(KvmHypervisor hypervisor, int rounds) {
    this.hypervisor = hypervisor;
    this.rounds = rounds;
  }

  /**
   * @param arguments how many machines count, after as many that do not; then, where a kernel's
   *     loading is to be timed too, its vmlinux and initramfs, and for sandboxes the cache's
   *     directory and the references of the kernel and of an image
   */
  public static void main(String... arguments) throws InterruptedException {
    // Not through the provider, which refuses a KVM that cannot boot kernels: these guests need
    // none.
    try (KvmHypervisor hypervisor = new KvmHypervisor(Kvm.open())) {
      SetUpTimes times = new SetUpTimes(hypervisor, Integer.parseInt(arguments[0]));
      times.measure("bare guest", BareGuest.payload(BareGuest.POWER_OFF));
      if (arguments.length > 1) {
        for (MemoryPolicy policy : Policies.of(MEMORY)) {
          String what = Policies.label("kernel", policy);
          times.measure(
              what,
              new LinuxKernel(Path.of(arguments[1]), Path.of(arguments[2]), "", policy, true));
          List<Samples> starts =
              SandboxSetUp.measure(
                  Path.of(arguments[3]),
                  arguments[4],
                  arguments[5],
                  policy,
                  DataSize.bytes(MEMORY),
                  times.rounds);
          times.add(what + ": Nacelle.start to first KVM_RUN", starts.get(0));
          times.add(what + ", network: Nacelle.start to first KVM_RUN", starts.get(1));
        }
      }
      times.results.close();
      System.out.print(times.table);
    }
  }

  private void measure(String name, Payload payload) {
    Samples create = new Samples();
    Samples start = new Samples();
    Samples total = new Samples();
    Samples close = new Samples();
    MachineSpec spec =
        new MachineSpec(
            "bench", MEMORY, 1, CONSOLE_BYTES, payload, List.of(DeviceFactory.entropy(null)));
    for (int round = -rounds; round < rounds; round++) {
      long called = System.nanoTime();
      KvmVirtualMachine machine = hypervisor.create(spec);
      long created = System.nanoTime();
      machine.start();
      long run = firstRun(machine);
      long closing = System.nanoTime();
      machine.close();
      long closed = System.nanoTime();
      if (round >= 0) {
        create.add(created - called);
        start.add(run - created);
        total.add(run - called);
        close.add(closed - closing);
      }
    }
    add(name + ": create", create);
    add(name + ": start to first KVM_RUN", start);
    add(name + ": create to first KVM_RUN", total);
    add(name + ": close", close);
  }

  /** Waits for the first KVM_RUN, not for the machine's end: a kernel would run for long here. */
  static long firstRun(VirtualMachine machine) {
    OptionalLong run;
    while ((run = machine.statistics().firstRunNanoTime()).isEmpty()) {
      Thread.yield();
    }
    return run.getAsLong();
  }

  private void add(String name, Samples samples) {
    table.nanos(name, samples);
    results.add(name, samples);
  }
}
