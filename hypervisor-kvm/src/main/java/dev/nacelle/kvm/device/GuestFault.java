// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

/**
 * The guest broke a device's rules in a way that no driver does. Thrown by a device on any thread
 * of its virtual machine, it ends that machine with {@link dev.nacelle.VmExit.Reason#GUEST_FAULT};
 * nothing else is harmed.
 */
public final class GuestFault extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message the device, what the guest did, and the rule's section
   */
  public GuestFault(String message) {
    super(message);
  }
}
