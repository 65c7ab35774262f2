// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.DataSize;
import dev.nacelle.HostCheck;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.engine.EngineBuilder;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * Times the whole of a start up to the first KVM_RUN, with image and kernel looked up in the cache,
 * on a KVM that need not be able to go on from there: the start is then cancelled.
 */
final class SandboxSetUp implements HypervisorProvider {
  private final HypervisorProvider kvm = new KvmHypervisorProvider();
  private final BlockingQueue<VirtualMachine> machines = new LinkedBlockingQueue<>();

  private SandboxSetUp() {}

  /**
   * @param cache with all that the sandbox takes
   * @return nanoseconds, of as many rounds as are asked for, after as many that do not count: those
   *     of sandboxes without a network, and by turns those of sandboxes with one that publishes a
   *     port
   */
  static List<Samples> measure(
      Path cache, String kernel, String image, MemoryPolicy policy, DataSize memory, int rounds)
      throws InterruptedException {
    SandboxSetUp provider = new SandboxSetUp();
    SandboxSpec without = spec(kernel, image, policy, memory);
    List<SandboxSpec> specs =
        List.of(
            without,
            without.toBuilder()
                .network(NetworkPolicy.internet())
                .publish(PublishedPort.tcp(8000))
                .build());
    List<Samples> samples = List.of(new Samples(), new Samples());
    try (Nacelle nacelle = new EngineBuilder().cacheDirectory(cache).hypervisor(provider).build()) {
      for (int round = -rounds; round < rounds; round++) {
        for (int i = 0; i < specs.size(); i++) {
          long called = System.nanoTime();
          long run = provider.start(nacelle, specs.get(i));
          if (round >= 0) {
            samples.get(i).add(run - called);
          }
        }
      }
    }
    return samples;
  }

  /** When a first sandbox's machine first ran, by {@link System#nanoTime}. */
  static long firstRun(
      Path cache, String kernel, String image, MemoryPolicy policy, DataSize memory)
      throws InterruptedException {
    SandboxSetUp provider = new SandboxSetUp();
    try (Nacelle nacelle = new EngineBuilder().cacheDirectory(cache).hypervisor(provider).build()) {
      return provider.start(nacelle, spec(kernel, image, policy, memory));
    }
  }

  private static SandboxSpec spec(
      String kernel, String image, MemoryPolicy policy, DataSize memory) {
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel)
        .memory(memory)
        .memoryPolicy(policy)
        .build();
  }

  private long start(Nacelle nacelle, SandboxSpec spec) throws InterruptedException {
    CompletableFuture<Sandbox> start = nacelle.startAsync(spec);
    VirtualMachine machine = machines.take();
    long run = SetUpTimes.firstRun(machine);
    start.cancel(true);
    machine.exit().join();
    return run;
  }

  @Override
  public String name() {
    return "kvm";
  }

  @Override
  public boolean supportsPlatform() {
    return kvm.supportsPlatform();
  }

  @Override
  public List<GuestDriver> drivers() {
    return kvm.drivers();
  }

  @Override
  public Optional<String> clockOption() {
    return kvm.clockOption();
  }

  @Override
  public HostCheck check() {
    return HostCheck.of(name(), List.of());
  }

  @Override
  public Hypervisor open() {
    KvmHypervisor hypervisor = new KvmHypervisor(Kvm.open());
    return new Hypervisor() {
      @Override
      public VirtualMachine create(VmSpec spec) {
        VirtualMachine machine = hypervisor.create(spec);
        machines.add(machine);
        return machine;
      }

      @Override
      public List<GuestDisk> guestDisks(VmSpec spec) {
        return hypervisor.guestDisks(spec);
      }

      @Override
      public void close() {
        hypervisor.close();
      }
    };
  }
}
