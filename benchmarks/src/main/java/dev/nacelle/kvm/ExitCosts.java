// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.kvm.cpu.CpuidPolicy;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;
import dev.nacelle.kvm.sys.KvmVcpu;
import dev.nacelle.kvm.sys.KvmVm;
import dev.nacelle.kvm.sys.ThreadSignal;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * What an exit to user space and back costs, with and without the signal mask by which a vCPU is
 * made to leave the guest: KVM changes the thread's mask at each entry and back at each exit, under
 * a lock that all threads of the process share. With several threads, each runs a machine.
 */
final class ExitCosts {
  private static final int EXITS = 50_000;
  private static final int ROUNDS = 9;
  private static final int[] THREADS = {1, 2, 4};

  /** {@code out dx, al; jmp} to it. */
  private static final byte[] OUT_FOR_EVER = {(byte) 0xee, (byte) 0xeb, (byte) 0xfd};

  private final Kvm kvm;
  private final CpuidPolicy cpuid;

  ExitCosts(Kvm kvm, CpuidPolicy cpuid) {
    this.kvm = kvm;
    this.cpuid = cpuid;
  }

  /** Measures and prints. */
  void print() throws InterruptedException {
    Table table =
        new Table("median ns of an exit, threads at once", "without signal mask", "with one");
    try (Results results = new Results("exits", "threads,masked,nanos")) {
      for (int threads : THREADS) {
        Samples plain = new Samples();
        Samples masked = new Samples();
        for (int round = -1; round < ROUNDS; round++) {
          long without = run(threads, false);
          long with = run(threads, true);
          if (round >= 0) {
            plain.add(without);
            masked.add(with);
            results.add(threads, false, without);
            results.add(threads, true, with);
          }
        }
        table.row(
            String.valueOf(threads),
            String.valueOf(plain.median()),
            String.valueOf(masked.median()));
      }
    }
    System.out.print(table);
  }

  /** Runs that many machines for a while; returns the nanoseconds of one exit of one of them. */
  private long run(int threads, boolean masked) throws InterruptedException {
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    CyclicBarrier together = new CyclicBarrier(threads);
    List<Future<Long>> times = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      times.add(pool.submit(() -> runOne(together, masked)));
    }
    pool.shutdown();
    long sum = 0;
    for (Future<Long> time : times) {
      try {
        sum += time.get();
      } catch (ExecutionException e) {
        throw new IllegalStateException(e);
      }
    }
    return sum / threads / EXITS;
  }

  private long runOne(CyclicBarrier together, boolean masked) throws Exception {
    GuestMemory memory = GuestMemory.allocate(2 << 20);
    try (KvmVm vm = kvm.createVm()) {
      memory.forEachRange((gpa, at, from, size) -> vm.setMemoryRegion(0, gpa, at, from, size));
      vm.createIrqchip();
      try (KvmVcpu vcpu = vm.createVcpu(0)) {
        vcpu.set(cpuid.forVcpu(0, 1));
        KvmRegs regs = new KvmRegs();
        KvmSregs sregs = new KvmSregs();
        vcpu.get(sregs);
        BareGuest.load(memory, OUT_FOR_EVER).apply(regs, sregs);
        vcpu.set(sregs);
        vcpu.set(regs);
        if (masked) {
          vcpu.setSignalMask(ThreadSignal.block());
        }
        enter(vcpu, EXITS / 10);
        together.await();
        long start = System.nanoTime();
        enter(vcpu, EXITS);
        return System.nanoTime() - start;
      }
    } finally {
      memory.close();
    }
  }

  private static void enter(KvmVcpu vcpu, int times) {
    for (int i = 0; i < times; i++) {
      int errno = vcpu.enter();
      if (errno != 0) {
        throw new IllegalStateException("KVM_RUN failed with errno " + errno);
      }
    }
  }
}
