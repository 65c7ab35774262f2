// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Pollable;

/** What a device has of the event loop that its work is done on. */
public abstract class LoopResources implements DeviceResources {
  /** Where the device's handlers run. */
  protected final EventLoop loop;

  private final GuestMemory memory;

  protected LoopResources(GuestMemory memory, EventLoop loop) {
    this.memory = memory;
    this.loop = loop;
  }

  @Override
  public final GuestMemory memory() {
    return memory;
  }

  @Override
  public final void watch(Pollable source, Runnable handler) {
    loop.register(source, handler);
  }

  @Override
  public final boolean execute(Runnable task) {
    return loop.execute(task);
  }

  @Override
  public final long nanoTime() {
    return loop.nanoTime();
  }

  @Override
  public final Timer timer(Runnable onTime) {
    return loop.timer(onTime);
  }
}
