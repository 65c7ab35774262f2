// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorException;
import java.util.List;
import java.util.Optional;

/**
 * Makes one kind of hypervisor available; found with {@link java.util.ServiceLoader}. Loading a
 * provider and calling {@link #name()}, {@link #supportsPlatform()} or {@link #drivers()} touches
 * nothing of the host, so a provider for another operating system does no harm.
 */
public interface HypervisorProvider {
  /** A short name in lower case, for messages and for choosing: {@code "kvm"}, {@code "hyperv"}. */
  String name();

  /**
   * Whether it is made for the operating system and the processor of this process, whatever else is
   * missing.
   */
  boolean supportsPlatform();

  /** The drivers that a Linux kernel needs for its machines, in the order of loading. */
  List<GuestDriver> drivers();

  /**
   * The option, without CONFIG_, of kernels that keep time by this hypervisor's own clock: where it
   * is built in, {@link VmSpec.Linux#paravirtualClock} says so. Empty where that makes no
   * difference to its machines.
   */
  default Optional<String> clockOption() {
    return Optional.empty();
  }

  /**
   * Finds out what this host can do, by trying it rather than by guessing. Never throws for
   * something that is wrong with the host: that is what the answer is for. Takes no longer than
   * making a machine, leaves nothing behind, safe on any thread.
   */
  HostCheck check();

  /**
   * Opens the hypervisor, also where it lacks an {@linkplain HostCheck.Ability ability}: whoever
   * wants to boot a kernel asks {@link #check()}.
   *
   * @throws HypervisorException when this host cannot run virtual machines, with the first failed
   *     finding of {@link #check()} that is about all abilities, and its remedy
   */
  Hypervisor open();
}
