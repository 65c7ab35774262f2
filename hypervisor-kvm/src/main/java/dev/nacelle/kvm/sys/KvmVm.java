// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.nio.ByteBuffer;

/**
 * A KVM virtual machine: the VM ioctls (KVM API section 4). Safe for use from several threads,
 * until {@link #close}. The kernel frees it when this and all its vCPUs are closed.
 */
public final class KvmVm implements AutoCloseable {
  /** struct kvm_userspace_memory_region (section 4.35). */
  static final int MEMORY_REGION_SIZE = 32;

  /** struct kvm_pit_config (section 4.71). */
  static final int PIT_CONFIG_SIZE = 64;

  /** Has the kernel answer port 0x61, which belongs to the PIT's second channel. */
  private static final int KVM_PIT_SPEAKER_DUMMY = 1;

  /** struct kvm_pit_state2 (sections 4.72 and 4.73). */
  static final int PIT_STATE_SIZE = 112;

  /** struct kvm_clock_data (sections 4.29 and 4.30): the clock, flags, and what they tell of. */
  static final int CLOCK_SIZE = 48;

  /** struct kvm_irqfd (section 4.75). */
  static final int IRQFD_SIZE = 32;

  /** struct kvm_ioeventfd (section 4.59). */
  static final int IOEVENTFD_SIZE = 64;

  private static final int KVM_IOEVENTFD_FLAG_DATAMATCH = 1;

  /** struct kvm_enable_cap (section 4.37). */
  static final int ENABLE_CAP_SIZE = 104;

  private static final int KVM_PMU_CAP_DISABLE = 1;
  private static final int KVM_BUS_LOCK_DETECTION_EXIT = 2;
  private static final int KVM_X86_NOTIFY_VMEXIT_ENABLED = 1;

  /** struct kvm_irqchip (section 4.26). */
  static final int IRQCHIP_SIZE = 520;

  /** In it, of a PIC: its interrupt mask register, a bit for each line that is off. */
  private static final int IRQCHIP_PIC_MASK = 8 + 2;

  private static final int[] PICS = {0, 1}; // KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE

  /** struct kvm_irq_level (section 4.25). */
  static final int IRQ_LEVEL_SIZE = 8;

  final FileDescriptor descriptor;
  private final int vcpuMappingSize;
  private boolean hasPit;
  private final NativeStruct irqLevel = new NativeStruct(IRQ_LEVEL_SIZE);

  KvmVm(FileDescriptor descriptor, int vcpuMappingSize) {
    this.descriptor = descriptor;
    this.vcpuMappingSize = vcpuMappingSize;
  }

  /** KVM_SET_USER_MEMORY_REGION (section 4.35): backs guest physical addresses with host memory. */
  public void setMemoryRegion(int slot, long gpa, Mapping mapping, long offset, long length) {
    NativeStruct region = new NativeStruct(MEMORY_REGION_SIZE);
    region
        .bytes()
        .putInt(0, slot)
        .putLong(8, gpa)
        .putLong(16, length)
        .putLong(24, mapping.address(offset, length));
    Ioctl.KVM_SET_USER_MEMORY_REGION.call(descriptor, region);
  }

  /**
   * KVM_SET_TSS_ADDR (section 4.35): where Intel processors without "unrestricted guest" keep three
   * pages for the guest's real mode.
   */
  public void setTssAddress(long gpa) {
    Ioctl.KVM_SET_TSS_ADDR.call(descriptor, gpa);
  }

  /** KVM_SET_IDENTITY_MAP_ADDR (section 4.36): the same for a page of page tables. */
  public void setIdentityMapAddress(long gpa) {
    NativeStruct address = new NativeStruct(Long.BYTES);
    address.bytes().putLong(0, gpa);
    Ioctl.KVM_SET_IDENTITY_MAP_ADDR.call(descriptor, address);
  }

  /**
   * KVM_CAP_PMU_CAPABILITY (section 8.35), for a KVM that has it: the guest gets no performance
   * counters, which CPUID alone does not keep from it on AMD processors. Before the first vCPU.
   */
  public void disablePerformanceCounters() {
    enable(descriptor, Capability.KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
  }

  /**
   * KVM_CAP_X86_BUS_LOCK_EXIT (section 7), for a KVM that has it: the guest exits after each access
   * that has locked the memory bus, with {@link KvmRun#BUS_LOCK} among the flags. Before the first
   * vCPU.
   */
  public void exitOnBusLocks() {
    enable(descriptor, Capability.KVM_CAP_X86_BUS_LOCK_EXIT, KVM_BUS_LOCK_DETECTION_EXIT);
  }

  /**
   * KVM_CAP_X86_NOTIFY_VMEXIT (section 7), for a KVM that has it: a guest that keeps its processor
   * from taking events, such as the host's interrupts, leaves after the shortest time that the
   * processor allows, and goes on by itself unless its state is lost. Before the first vCPU.
   */
  public void exitWhereEventsCannotCome() {
    // The upper half is the time, above the processor's own minimum.
    enable(descriptor, Capability.KVM_CAP_X86_NOTIFY_VMEXIT, KVM_X86_NOTIFY_VMEXIT_ENABLED);
  }

  /** KVM_ENABLE_CAP (section 4.37), of a virtual machine or of a vCPU. */
  static void enable(FileDescriptor descriptor, Capability capability, long argument) {
    NativeStruct enableCap = new NativeStruct(ENABLE_CAP_SIZE);
    enableCap.bytes().putInt(0, capability.number()).putLong(8, argument);
    Ioctl.KVM_ENABLE_CAP.call(descriptor, enableCap);
  }

  /** KVM_CREATE_IRQCHIP (section 4.24): PICs, I/O APIC and a local APIC for each later vCPU. */
  public void createIrqchip() {
    Ioctl.KVM_CREATE_IRQCHIP.call(descriptor, 0);
  }

  /**
   * Masks all lines of both PICs (KVM_GET_IRQCHIP, KVM_SET_IRQCHIP; sections 4.26 and 4.27), as
   * firmware leaves them to a system that uses the APICs. KVM starts them with every line on and
   * vectors from 0, so that an interrupt would reach a guest as an exception. A guest that wants
   * them initialises them, which unmasks.
   */
  public void maskPics() {
    NativeStruct chip = new NativeStruct(IRQCHIP_SIZE);
    for (int pic : PICS) {
      chip.bytes().putInt(0, pic);
      Ioctl.KVM_GET_IRQCHIP.call(descriptor, chip);
      chip.bytes().put(IRQCHIP_PIC_MASK, (byte) 0xff);
      Ioctl.KVM_SET_IRQCHIP.call(descriptor, chip);
    }
  }

  /** KVM_CREATE_PIT2 (section 4.71). */
  public void createPit() {
    NativeStruct config = new NativeStruct(PIT_CONFIG_SIZE);
    config.bytes().putInt(0, KVM_PIT_SPEAKER_DUMMY);
    Ioctl.KVM_CREATE_PIT2.call(descriptor, config);
    hasPit = true;
  }

  /** The machine's time, which {@link #restoreTime} has it go on from. */
  public static final class Time {
    private final NativeStruct clock = new NativeStruct(CLOCK_SIZE);
    private final NativeStruct pit = new NativeStruct(PIT_STATE_SIZE);

    private Time() {}

    /** What KVM's clock told, in nanoseconds. */
    long clock() {
      return clock.bytes().getLong(0);
    }
  }

  /**
   * KVM_GET_CLOCK (section 4.29): what KVM's clock tells guests, and the PIT's state where there is
   * one. For a machine whose vCPUs do not run.
   */
  public Time time() {
    Time time = new Time();
    Ioctl.KVM_GET_CLOCK.call(descriptor, time.clock);
    // The flags tell what else there is; set again, they would have KVM count the time since.
    time.clock.bytes().putInt(8, 0);
    if (hasPit) {
      Ioctl.KVM_GET_PIT2.call(descriptor, time.pit);
    }
    return time;
  }

  /**
   * KVM_SET_CLOCK (section 4.30), and the PIT anew, without the ticks of the time between. After
   * the vCPUs' {@link KvmVcpu#turnBackTsc}, on which the clock is built.
   */
  public void restoreTime(Time time) {
    Ioctl.KVM_SET_CLOCK.call(descriptor, time.clock);
    if (hasPit) {
      Ioctl.KVM_SET_PIT2.call(descriptor, time.pit);
    }
  }

  /** KVM_IRQFD (section 4.75): each signal is an edge of an interrupt line, until it is closed. */
  public void connectInterrupt(EventFd eventFd, int gsi) {
    NativeStruct irqfd = new NativeStruct(IRQFD_SIZE);
    irqfd.bytes().putInt(0, eventFd.descriptor().fd()).putInt(4, gsi);
    Ioctl.KVM_IRQFD.call(descriptor, irqfd);
  }

  /**
   * KVM_IOEVENTFD (section 4.59): a guest's 4-byte write of one value to an MMIO address signals
   * instead of stopping the vCPU.
   */
  public void connectDoorbell(EventFd eventFd, long gpa, int value) {
    NativeStruct ioeventfd = new NativeStruct(IOEVENTFD_SIZE);
    ByteBuffer bytes = ioeventfd.bytes();
    bytes
        .putLong(0, Integer.toUnsignedLong(value))
        .putLong(8, gpa)
        .putInt(16, Integer.BYTES)
        .putInt(20, eventFd.descriptor().fd())
        .putInt(24, KVM_IOEVENTFD_FLAG_DATAMATCH);
    Ioctl.KVM_IOEVENTFD.call(descriptor, ioeventfd);
  }

  /**
   * KVM_IRQ_LINE (section 4.25), up and down again: an edge, without a descriptor of its own.
   *
   * <p>Two calls, as the I/O APIC takes the next edge only of a line that was low. An irqfd would
   * be one, but on a pin of the I/O APIC each of its signals is work for a thread of the kernel.
   */
  public synchronized void pulseInterrupt(int gsi) {
    irqLevel.bytes().putInt(0, gsi).putInt(4, 1);
    Ioctl.KVM_IRQ_LINE.call(descriptor, irqLevel);
    irqLevel.bytes().putInt(4, 0);
    Ioctl.KVM_IRQ_LINE.call(descriptor, irqLevel);
  }

  /**
   * KVM_CREATE_VCPU (section 4.7). Called by the thread that will run it.
   *
   * @param id from 0 on; its local APIC's identifier
   */
  public KvmVcpu createVcpu(int id) {
    int fd = Ioctl.KVM_CREATE_VCPU.call(descriptor, id);
    FileDescriptor vcpu = new FileDescriptor(fd, "KVM vCPU " + id);
    try {
      return new KvmVcpu(vcpu, Mapping.shared(vcpu, vcpuMappingSize));
    } catch (RuntimeException | Error e) {
      vcpu.close();
      throw e;
    }
  }

  @Override
  public void close() {
    descriptor.close();
  }
}
