// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** Offsets into struct kvm_run, and its exit reasons (KVM API section 5). */
public final class KvmRun {
  public static final int EXIT_REASON = 8;

  /** 16 bits. */
  public static final int FLAGS = 14;

  /** In {@link #FLAGS}: the guest has locked the memory bus, whatever it exited for. */
  public static final int BUS_LOCK = 1 << 1;

  public static final int UNKNOWN_HARDWARE_REASON = 32;

  public static final int IO_DIRECTION = 32;
  public static final int IO_SIZE = 33;
  public static final int IO_PORT = 34;
  public static final int IO_COUNT = 36;
  public static final int IO_DATA_OFFSET = 40;
  public static final int IO_OUT = 1;

  public static final int MMIO_ADDRESS = 32;
  public static final int MMIO_DATA = 40;
  public static final int MMIO_LENGTH = 48;
  public static final int MMIO_IS_WRITE = 52;

  public static final int FAIL_ENTRY_HARDWARE_REASON = 32;

  public static final int INTERNAL_SUBERROR = 32;
  public static final int INTERNAL_COUNT = 36;
  public static final int EMULATION_FLAGS = 40;
  public static final int EMULATION_INSTRUCTION_SIZE = 48;
  public static final int EMULATION_INSTRUCTION = 49;

  /** In {@link #EMULATION_FLAGS}: the instruction's bytes are there. */
  public static final int EMULATION_FLAG_INSTRUCTION = 1;

  public static final int SYSTEM_EVENT_TYPE = 32;
  public static final int SYSTEM_EVENT_SHUTDOWN = 1;
  public static final int SYSTEM_EVENT_RESET = 2;

  /** With KVM_RUN's EFAULT and EHWPOISON, since Linux 6.8 (section 5, memory_fault). */
  public static final int MEMORY_FAULT_ADDRESS = 40;

  public static final int EXIT_UNKNOWN = 0;
  public static final int EXIT_IO = 2;
  public static final int EXIT_MMIO = 6;
  public static final int EXIT_SHUTDOWN = 8;
  public static final int EXIT_FAIL_ENTRY = 9;
  public static final int EXIT_INTR = 10;
  public static final int EXIT_INTERNAL_ERROR = 17;
  public static final int EXIT_SYSTEM_EVENT = 24;
  public static final int EXIT_BUS_LOCK = 33;
  public static final int EXIT_NOTIFY = 37;
  public static final int EXIT_MEMORY_FAULT = 39;

  private KvmRun() {}
}
