// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;

/**
 * The registers of the first vCPU at its first instruction. The others wait for it (INIT, SIPI).
 */
@FunctionalInterface
public interface InitialState {
  /**
   * Changes the registers from their values after reset (Intel SDM volume 3, section 10.1.1).
   *
   * @param regs all zero
   * @param sregs as KVM has them after reset
   */
  void apply(KvmRegs regs, KvmSregs sregs);
}
