// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Structures against what the numbers of their ioctls say, and against this host's KVM. */
class KvmStructuresTest {
  @ParameterizedTest
  @CsvSource({
    "KVM_SET_USER_MEMORY_REGION, " + KvmVm.MEMORY_REGION_SIZE,
    "KVM_CREATE_PIT2, " + KvmVm.PIT_CONFIG_SIZE,
    "KVM_GET_PIT2, " + KvmVm.PIT_STATE_SIZE,
    "KVM_SET_PIT2, " + KvmVm.PIT_STATE_SIZE,
    "KVM_GET_CLOCK, " + KvmVm.CLOCK_SIZE,
    "KVM_SET_CLOCK, " + KvmVm.CLOCK_SIZE,
    "KVM_SET_DEVICE_ATTR, " + KvmVcpu.DEVICE_ATTR_SIZE,
    "KVM_GET_DEVICE_ATTR, " + KvmVcpu.DEVICE_ATTR_SIZE,
    "KVM_HAS_DEVICE_ATTR, " + KvmVcpu.DEVICE_ATTR_SIZE,
    "KVM_IRQFD, " + KvmVm.IRQFD_SIZE,
    "KVM_IOEVENTFD, " + KvmVm.IOEVENTFD_SIZE,
    "KVM_ENABLE_CAP, " + KvmVm.ENABLE_CAP_SIZE,
    "KVM_GET_IRQCHIP, " + KvmVm.IRQCHIP_SIZE,
    "KVM_SET_IRQCHIP, " + KvmVm.IRQCHIP_SIZE,
    "KVM_IRQ_LINE, " + KvmVm.IRQ_LEVEL_SIZE,
    "KVM_SET_IDENTITY_MAP_ADDR, " + Long.BYTES,
    "KVM_GET_REGS, " + KvmRegs.SIZE,
    "KVM_SET_REGS, " + KvmRegs.SIZE,
    "KVM_GET_SREGS, " + KvmSregs.SIZE,
    "KVM_SET_SREGS, " + KvmSregs.SIZE,
    // Of these the number tells the size without the entries.
    "KVM_GET_MSRS, " + KvmVcpu.MSRS_SIZE,
    "KVM_SET_MSRS, " + KvmVcpu.MSRS_SIZE,
    "KVM_GET_SUPPORTED_CPUID, " + KvmCpuid.HEADER_SIZE,
    "KVM_SET_CPUID2, " + KvmCpuid.HEADER_SIZE,
    "KVM_SET_SIGNAL_MASK, " + Integer.BYTES
  })
  void structureHasTheSizeThatTheIoctlSays(Ioctl ioctl, int size) {
    assertEquals(size, ioctl.argumentSize());
  }

  @ParameterizedTest
  @EnumSource
  void ioctlIsOneOfKvms(Ioctl ioctl) {
    assertEquals(0xae, ioctl.number() >>> 8 & 0xff, "KVMIO");
    boolean hasStructure = ioctl.number() >>> 30 != 0;
    assertEquals(hasStructure, ioctl.argumentSize() != 0);
  }

  @Test
  void registersHaveTheirPlaces() {
    try (Kvm kvm = Kvm.open();
        KvmVm vm = kvm.createVm();
        KvmVcpu vcpu = vm.createVcpu(0)) {
      KvmRegs regs = new KvmRegs();
      vcpu.get(regs);
      // Intel SDM volume 3, table 10-1: what reset leaves.
      assertEquals(0xfff0, regs.get(KvmRegs.RIP));
      assertEquals(2, regs.get(KvmRegs.RFLAGS));
      KvmSregs sregs = new KvmSregs();
      vcpu.get(sregs);
      assertEquals(0xffff_0000L, sregs.bytes().getLong(KvmSregs.CS));
      assertEquals(0x6000_0010, sregs.get(KvmSregs.CR0));
      assertEquals(0, sregs.get(KvmSregs.CR4));
      assertEquals((short) 0xffff, sregs.bytes().getShort(KvmSregs.IDT + 8));

      regs.set(KvmRegs.RSI, 0x7000).set(KvmRegs.RSP, 0x8ff0).set(KvmRegs.RIP, 0x1234);
      vcpu.set(regs);
      KvmRegs back = new KvmRegs();
      vcpu.get(back);
      for (int register = 0; register < KvmRegs.SIZE; register += 8) {
        assertEquals(regs.get(register), back.get(register));
      }
    }
  }

  @Test
  void segmentsAreUnpackedFromTheirDescriptors() {
    KvmSregs sregs = new KvmSregs();
    sregs.setSegment(KvmSregs.CS, 0x10, 0x12af_9b34_5678_ffffL);
    assertEquals(0x1234_5678, sregs.bytes().getLong(KvmSregs.CS));
    assertEquals(-1, sregs.bytes().getInt(KvmSregs.CS + 8), "4 GiB less one");
    assertEquals(0x10, sregs.bytes().getShort(KvmSregs.CS + 12));
    // type, present, dpl, db, s, l, g, avl, unusable
    byte[] attributes = new byte[9];
    sregs.bytes().get(KvmSregs.CS + 14, attributes);
    assertEquals(List.of(11, 1, 0, 0, 1, 1, 1, 0, 0), toList(attributes));

    sregs.setSegment(KvmSregs.TR, 0x20, 0x0000_8b00_0000_0067L);
    assertEquals(0x67, sregs.bytes().getInt(KvmSregs.TR + 8));
    sregs.bytes().get(KvmSregs.TR + 14, attributes);
    assertEquals(List.of(11, 1, 0, 0, 0, 0, 0, 0, 0), toList(attributes));
  }

  private static List<Integer> toList(byte[] bytes) {
    return java.util.stream.IntStream.range(0, bytes.length).mapToObj(i -> (int) bytes[i]).toList();
  }

  @Test
  void aRegisterThatKvmDoesNotHaveIsRefused() {
    try (Kvm kvm = Kvm.open();
        KvmVm vm = kvm.createVm();
        KvmVcpu vcpu = vm.createVcpu(0)) {
      assertTrue(vcpu.setMsr(0x2ff, 0x806));
      assertFalse(vcpu.setMsr(0xdead_beef, 1));
    }
  }

  @Test
  void aRegisterIsReadAsItWasWritten() {
    try (Kvm kvm = Kvm.open();
        KvmVm vm = kvm.createVm();
        KvmVcpu vcpu = vm.createVcpu(0)) {
      assertTrue(vcpu.setMsr(0x2ff, 0x806));
      assertEquals(OptionalLong.of(0x806), vcpu.getMsr(0x2ff));
      assertEquals(OptionalLong.empty(), vcpu.getMsr(0xdead_beef));
    }
  }

  /** Where KVM emulates the guest's kernel code, its counter is the host's. */
  @Test
  @Tag("boot")
  void theTimeStampCounterIsTurnedBack() {
    try (Kvm kvm = Kvm.open();
        KvmVm vm = kvm.createVm();
        KvmVcpu vcpu = vm.createVcpu(0)) {
      vcpu.set(kvm.supportedCpuid());
      long hour = 3600 * 1_000_000_000L;
      long before = vcpu.getMsr(0x10).orElseThrow();
      assertTrue(vcpu.turnBackTsc(hour), "a KVM before Linux 5.16");
      assertTrue(vcpu.getMsr(0x10).orElseThrow() - before < -hour / 2);
      vcpu.tellOfPause(); // of no effect on who does not use KVM's clock
    }
  }

  @Test
  void timeGoesOnFromWhereItWas() throws Exception {
    try (Kvm kvm = Kvm.open();
        KvmVm vm = kvm.createVm()) {
      vm.createIrqchip();
      vm.createPit();
      KvmVm.Time then = vm.time();
      Thread.sleep(200);
      vm.restoreTime(then);
      long passed = vm.time().clock() - then.clock();
      assertTrue(passed >= 0 && passed < 200_000_000, () -> passed + " ns");
    }
  }

  @Test
  void cpuidEntriesCanBeAdded() {
    KvmCpuid cpuid = KvmCpuid.empty();
    cpuid.add(1, 0, false, 1, 2, 3, 4);
    cpuid.add(3, 1, true, 9, 10, 11, 12);
    assertEquals(2, cpuid.count());
    assertEquals(3, cpuid.leaf(1));
    assertEquals(1, cpuid.subleaf(1));
    assertEquals(12, cpuid.get(1, KvmCpuid.EDX));
    for (int i = 2; i < KvmCpuid.CAPACITY; i++) {
      cpuid.add(i, 0, false, 0, 0, 0, 0);
    }
    assertThrows(IllegalStateException.class, () -> cpuid.add(0, 0, false, 0, 0, 0, 0));
  }

  @Test
  void kvmAcceptsWhatItSupports() {
    try (Kvm kvm = Kvm.open();
        KvmVm vm = kvm.createVm();
        KvmVcpu vcpu = vm.createVcpu(0)) {
      KvmCpuid cpuid = kvm.supportedCpuid();
      assertTrue(cpuid.count() > 10);
      vcpu.set(cpuid);
    }
  }

  @Test
  void performanceCountersAreTakenAwayBeforeTheFirstProcessorOnly() {
    try (Kvm kvm = Kvm.open();
        KvmVm vm = kvm.createVm()) {
      if (kvm.check(Capability.KVM_CAP_PMU_CAPABILITY) != 0) {
        vm.disablePerformanceCounters();
        vm.createVcpu(0).close();
      }
      // Too late, or nothing that this KVM knows of.
      assertThrows(ErrnoException.class, vm::disablePerformanceCounters);
    }
  }

  @Test
  void failureNamesTheIoctl() {
    try (Kvm kvm = Kvm.open();
        KvmVm vm = kvm.createVm()) {
      vm.createIrqchip();
      ErrnoException e = assertThrows(ErrnoException.class, vm::createIrqchip);
      assertEquals(Errno.EEXIST, e.errno());
      assertEquals("KVM_CREATE_IRQCHIP: EEXIST (exists already)", e.getMessage());
    }
  }
}
