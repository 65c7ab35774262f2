// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.VmExit;
import dev.nacelle.kvm.sys.Kvm;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.infra.Blackhole;

/**
 * A whole machine per operation: created, started, powered off by its guest at once, closed. With
 * {@code -prof gc}, what a machine costs the collector.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 5)
@Measurement(iterations = 5, time = 5)
public class MachineLifeBenchmark {
  private static final MachineSpec SPEC =
      new MachineSpec(
          "bench",
          128 << 20,
          1,
          64 * 1024,
          BareGuest.payload(BareGuest.POWER_OFF),
          List.of(DeviceFactory.entropy(null)));

  private KvmHypervisor hypervisor;

  @Setup
  public void open() {
    hypervisor = new KvmHypervisor(Kvm.open());
  }

  @TearDown
  public void close() {
    hypervisor.close();
  }

  @Benchmark
  public void life(Blackhole blackhole) {
    try (KvmVirtualMachine machine = hypervisor.create(SPEC)) {
      machine.start();
      VmExit exit = machine.exit().join();
      if (exit.reason() != VmExit.Reason.POWER_OFF) {
        throw new IllegalStateException(exit.toString());
      }
      blackhole.consume(exit);
    }
  }
}
