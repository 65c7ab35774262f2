// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorException;
import java.util.List;

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
   * Finds out what this host can do, by trying it rather than by guessing. Never throws for
   * something that is wrong with the host: that is what the answer is for. Takes milliseconds,
   * leaves nothing behind, safe on any thread.
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
