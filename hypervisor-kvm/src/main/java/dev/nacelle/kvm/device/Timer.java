// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

/** Has something called on an event loop at a time; see {@link DeviceResources#timer}. */
public interface Timer {
  /**
   * Sets the time, in place of what was set before; it is called once, at that time or soon after,
   * and at once where the time is over. From any thread; allocates nothing.
   *
   * @param nanoTime as {@link DeviceResources#nanoTime} counts
   */
  void set(long nanoTime);
}
