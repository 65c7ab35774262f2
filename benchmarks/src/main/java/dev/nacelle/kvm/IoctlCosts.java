// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.cpu.CpuidPolicy;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;
import dev.nacelle.kvm.sys.Capability;
import dev.nacelle.kvm.sys.EventFd;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;
import dev.nacelle.kvm.sys.KvmVcpu;
import dev.nacelle.kvm.sys.KvmVm;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Times each step of making a KVM machine, on one thread, in several orders: what a step costs
 * depends on what came before, since some wait until no other part of KVM can still be reading what
 * they change (SRCU grace periods).
 */
final class IoctlCosts {
  private static final long MEMORY = 128 << 20;
  private static final int DEVICES = 3;

  /** QueueNotify of a virtio-mmio device (virtio 1.2 section 4.2.2). */
  private static final int QUEUE_NOTIFY = 0x50;

  /** The queues of a socket, an entropy and a block device. */
  private static final int[] QUEUES = {3, 1, 1};

  private static final int MTRR_DEF_TYPE = 0x2ff;
  private static final int MTRR_ENABLED_WRITE_BACK = 1 << 11 | 6;

  private enum Step {
    VM("KVM_CREATE_VM"),
    MEMORY("KVM_SET_USER_MEMORY_REGION"),
    ADDRESSES("KVM_SET_TSS_ADDR, _IDENTITY_MAP_ADDR"),
    IRQCHIP("KVM_CREATE_IRQCHIP"),
    PIT("KVM_CREATE_PIT2"),
    INTERRUPTS("KVM_IRQFD, 3 of them"),
    DOORBELLS("KVM_IOEVENTFD, 5 of them"),
    VCPU("KVM_CREATE_VCPU, mmap"),
    CPUID("KVM_SET_CPUID2"),
    MSRS("KVM_SET_MSRS"),
    REGISTERS("KVM_GET_SREGS, _SET_SREGS, _SET_REGS"),
    RUN("KVM_RUN to the first exit"),
    CLOSE("close of vCPU and machine");

    final String label;

    Step(String label) {
      this.label = label;
    }
  }

  private static final Map<String, List<Step>> ORDERS = new LinkedHashMap<>();

  static {
    order("as Nacelle", "VM MEMORY ADDRESSES IRQCHIP INTERRUPTS DOORBELLS PIT VCPU");
    order("chip first", "VM IRQCHIP MEMORY ADDRESSES INTERRUPTS DOORBELLS PIT VCPU");
    order("bells first", "VM MEMORY ADDRESSES DOORBELLS IRQCHIP INTERRUPTS PIT VCPU");
    order("PIT early", "VM MEMORY ADDRESSES IRQCHIP PIT INTERRUPTS DOORBELLS VCPU");
    order("vCPU early", "VM MEMORY ADDRESSES IRQCHIP VCPU INTERRUPTS DOORBELLS PIT");
    order("memory last", "VM ADDRESSES IRQCHIP PIT INTERRUPTS DOORBELLS VCPU MEMORY");
    order("bare", "VM MEMORY IRQCHIP VCPU");
  }

  private static void order(String name, String steps) {
    List<Step> order = new ArrayList<>();
    for (String step : steps.split(" ")) {
      order.add(Step.valueOf(step));
    }
    order.addAll(List.of(Step.CPUID, Step.MSRS, Step.REGISTERS, Step.RUN, Step.CLOSE));
    ORDERS.put(name, order);
  }

  private final Kvm kvm;
  private final CpuidPolicy cpuid;
  private final GuestMemory memory = GuestMemory.allocate(MEMORY);
  private final InitialState state = BareGuest.load(memory, BareGuest.POWER_OFF);
  private final List<EventFd> eventFds = new ArrayList<>();
  private @Nullable KvmVm vm;
  private @Nullable KvmVcpu vcpu;

  private IoctlCosts(Kvm kvm) {
    this.kvm = kvm;
    cpuid =
        new CpuidPolicy(
            kvm.supportedCpuid(), kvm.check(Capability.KVM_CAP_TSC_DEADLINE_TIMER) != 0);
  }

  /**
   * @param arguments how many machines are made in each order, after as many that do not count
   */
  public static void main(String... arguments) throws InterruptedException {
    int rounds = Integer.parseInt(arguments[0]);
    Map<String, Map<Step, Samples>> measured = new LinkedHashMap<>();
    ORDERS.keySet().forEach(order -> measured.put(order, new EnumMap<>(Step.class)));
    try (Kvm kvm = Kvm.open()) {
      IoctlCosts costs = new IoctlCosts(kvm);
      for (int round = -rounds; round < rounds; round++) {
        for (Map.Entry<String, List<Step>> order : ORDERS.entrySet()) {
          Map<Step, Samples> samples = measured.get(order.getKey());
          for (Step step : order.getValue()) {
            long start = System.nanoTime();
            costs.perform(step);
            long nanos = System.nanoTime() - start;
            if (round >= 0) {
              samples.computeIfAbsent(step, s -> new Samples()).add(nanos);
            }
          }
        }
      }
      costs.memory.close();
      print(measured, rounds);
      new ExitCosts(kvm, costs.cpuid).print();
    }
  }

  private static void print(Map<String, Map<Step, Samples>> measured, int rounds) {
    List<String> heading = new ArrayList<>(List.of("median ms of " + rounds));
    heading.addAll(measured.keySet());
    Table table = new Table(heading.toArray(String[]::new));
    for (Step step : Step.values()) {
      List<String> row = new ArrayList<>(List.of(step.label));
      for (Map<Step, Samples> samples : measured.values()) {
        Samples of = samples.get(step);
        row.add(of == null ? "" : Table.millis(of.median()));
      }
      table.row(row.toArray(String[]::new));
    }
    List<String> sum = new ArrayList<>(List.of("together, before KVM_RUN"));
    try (Results results = new Results("ioctls", "order,step,round,nanos")) {
      for (Map.Entry<String, Map<Step, Samples>> order : measured.entrySet()) {
        Samples together = new Samples();
        for (int round = 0; round < rounds; round++) {
          long nanos = 0;
          for (Map.Entry<Step, Samples> step : order.getValue().entrySet()) {
            long value = step.getValue().get(round);
            results.add(order.getKey(), step.getKey(), round, value);
            nanos += step.getKey().compareTo(Step.RUN) < 0 ? value : 0;
          }
          together.add(nanos);
        }
        sum.add(Table.millis(together.median()));
      }
    }
    System.out.print(table.row(sum.toArray(String[]::new)));
  }

  private void perform(Step step) {
    if (step == Step.VM) {
      vm = kvm.createVm();
      return;
    }
    KvmVm machine = vm;
    if (machine == null) {
      throw new IllegalStateException("no machine");
    }
    switch (step) {
      case MEMORY ->
          memory.forEachRange(
              (gpa, at, from, size) -> machine.setMemoryRegion(0, gpa, at, from, size));
      case ADDRESSES -> {
        machine.setTssAddress(MachineLayout.TSS);
        machine.setIdentityMapAddress(MachineLayout.IDENTITY_MAP);
      }
      case IRQCHIP -> machine.createIrqchip();
      case PIT -> machine.createPit();
      case INTERRUPTS -> {
        for (int device = 0; device < DEVICES; device++) {
          machine.connectInterrupt(eventFd(), MachineLayout.deviceGsi(device));
        }
      }
      case DOORBELLS -> {
        for (int device = 0; device < DEVICES; device++) {
          for (int queue = 0; queue < QUEUES[device]; queue++) {
            machine.connectDoorbell(
                eventFd(), MachineLayout.deviceAddress(device) + QUEUE_NOTIFY, queue);
          }
        }
      }
      case VCPU -> vcpu = machine.createVcpu(0);
      case CLOSE -> {
        if (vcpu != null) {
          vcpu.close();
        }
        machine.close();
        eventFds.forEach(EventFd::close);
        eventFds.clear();
      }
      default -> performOnVcpu(step);
    }
  }

  private void performOnVcpu(Step step) {
    KvmVcpu processor = vcpu;
    if (processor == null) {
      throw new IllegalStateException("no vCPU");
    }
    switch (step) {
      case CPUID -> processor.set(cpuid.forVcpu(0, 1));
      case MSRS -> {
        boolean ignored = processor.setMsr(MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK);
      }
      case REGISTERS -> {
        KvmRegs regs = new KvmRegs();
        KvmSregs sregs = new KvmSregs();
        processor.get(sregs);
        state.apply(regs, sregs);
        processor.set(sregs);
        processor.set(regs);
      }
      case RUN -> {
        int errno = processor.enter();
        if (errno != 0) {
          throw new IllegalStateException("KVM_RUN failed with errno " + errno);
        }
      }
      default -> throw new AssertionError(step);
    }
  }

  private EventFd eventFd() {
    EventFd eventFd = new EventFd();
    eventFds.add(eventFd);
    return eventFd;
  }
}
