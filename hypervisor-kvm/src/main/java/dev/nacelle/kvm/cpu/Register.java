// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

import dev.nacelle.kvm.sys.KvmCpuid;

/** Where CPUID puts its answer. */
enum Register {
  EAX(0, KvmCpuid.EAX),
  EBX(1, KvmCpuid.EBX),
  ECX(2, KvmCpuid.ECX),
  EDX(3, KvmCpuid.EDX);

  /** Its place in an answer of {@link CpuidTable}. */
  final int index;

  /** Its offset in KVM's structure. */
  final int offset;

  Register(int index, int offset) {
    this.index = index;
    this.offset = offset;
  }
}
