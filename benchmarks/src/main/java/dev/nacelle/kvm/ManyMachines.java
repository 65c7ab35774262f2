// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.Kvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;

/**
 * What machines in one process cost each other: idle ones are made, one after the other, and closed
 * together with their hypervisor. While they are there, pages of a file that one machine's memory
 * maps copy-on-write are written to by the host: each fault tells every machine of the process.
 */
final class ManyMachines {
  private static final int PAGE = 4096;
  private static final int PAGES = 1024;
  private static final long SHARED_GPA = 4 << 20;
  private static final long FIRST_MEMORY = 8 << 20;
  private static final long MEMORY = 2 << 20;
  private static final int CONSOLE_BYTES = 1024;

  private ManyMachines() {}

  /**
   * @param arguments how many machines, each a row
   */
  public static void main(String... arguments) throws IOException {
    Table table =
        new Table(
            "machines",
            "create ms, median",
            "the last",
            "threads each",
            "descriptors each",
            "copy-on-write fault us",
            "close all ms",
            "close one before ms");
    Path shared = Files.write(Files.createTempFile("nacelle", ".pages"), new byte[PAGES * PAGE]);
    try (Results results = new Results("many", "machines,what,value")) {
      measure(10, shared); // classes, compiled code
      for (String count : arguments) {
        Figures figures = measure(Integer.parseInt(count), shared);
        figures.addTo(results, count);
        figures.addTo(table, count);
      }
    } finally {
      Files.delete(shared);
    }
    System.out.print(table);
  }

  private record Figures(
      Samples create,
      double threads,
      double descriptors,
      long faultNanos,
      long closeNanos,
      long closeOneNanos) {
    void addTo(Results results, String count) {
      for (int i = 0; i < create.count(); i++) {
        results.add(count, "create_ns", create.get(i));
      }
      results.add(count, "threads_each", threads);
      results.add(count, "descriptors_each", descriptors);
      results.add(count, "fault_ns", faultNanos);
      results.add(count, "close_all_ns", closeNanos);
      results.add(count, "close_one_ns", closeOneNanos);
    }

    void addTo(Table table, String count) {
      table.row(
          count,
          Table.millis(create.median()),
          Table.millis(create.get(create.count() - 1)),
          String.format(Locale.ROOT, "%.1f", threads),
          String.format(Locale.ROOT, "%.1f", descriptors),
          String.format(Locale.ROOT, "%.2f", faultNanos / 1e3),
          Table.millis(closeNanos),
          create.count() > 1 ? Table.millis(closeOneNanos) : "");
    }
  }

  private static Figures measure(int count, Path shared) throws IOException {
    Samples create = new Samples();
    AtomicReference<GuestMemory> memory = new AtomicReference<>();
    List<KvmVirtualMachine> machines = new ArrayList<>();
    long closeOne;
    long began;
    long threads;
    long descriptors;
    long fault;
    try (KvmHypervisor hypervisor = new KvmHypervisor(Kvm.open())) {
      long threadsBefore = threads();
      long descriptorsBefore = descriptors();
      for (int i = 0; i < count; i++) {
        MachineSpec spec = spec(i, shared, memory);
        long start = System.nanoTime();
        KvmVirtualMachine machine = hypervisor.create(spec);
        create.add(System.nanoTime() - start);
        machines.add(machine);
        machine.start();
      }
      for (KvmVirtualMachine machine : machines) {
        while (machine.statistics().firstRunNanoTime().isEmpty()) {
          Thread.yield();
        }
      }
      threads = threads() - threadsBefore;
      descriptors = descriptors() - descriptorsBefore;
      fault = copyPages(memory.get());
      began = System.nanoTime();
      if (count > 1) {
        machines.get(1).close();
      }
      closeOne = System.nanoTime() - began;
      began = System.nanoTime();
    }
    long closeAll = System.nanoTime() - began;
    double each = count;
    return new Figures(create, threads / each, descriptors / each, fault, closeAll, closeOne);
  }

  private static MachineSpec spec(int number, Path shared, AtomicReference<GuestMemory> first) {
    return new MachineSpec(
        "bench" + number,
        number == 0 ? FIRST_MEMORY : MEMORY,
        1,
        CONSOLE_BYTES,
        (memory, hardware) -> {
          if (number == 0) {
            try (FileDescriptor file = FileDescriptor.openFile(shared, false)) {
              memory.mapCopyOnWrite(file, 0, SHARED_GPA, (long) PAGES * PAGE);
            }
            first.set(memory);
          }
          return BareGuest.load(memory, BareGuest.HALT);
        },
        List.of(DeviceFactory.entropy(null)));
  }

  /** Nanoseconds a page. */
  private static long copyPages(GuestMemory memory) {
    int sum = 0;
    for (int page = 0; page < PAGES; page++) {
      sum += memory.getByte(SHARED_GPA + (long) page * PAGE); // now it is the file's
    }
    long start = System.nanoTime();
    for (int page = 0; page < PAGES; page++) {
      memory.putByte(SHARED_GPA + (long) page * PAGE, (byte) (sum + 1));
    }
    return (System.nanoTime() - start) / PAGES;
  }

  private static long threads() {
    return Thread.getAllStackTraces().size();
  }

  private static long descriptors() throws IOException {
    try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
      return open.count();
    }
  }
}
