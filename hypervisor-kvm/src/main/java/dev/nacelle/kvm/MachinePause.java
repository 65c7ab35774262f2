// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.device.EventLoop;
import dev.nacelle.kvm.sys.KvmVm;
import dev.nacelle.kvm.vcpu.Vcpu;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Has a machine stand still, and go on: first its vCPUs, which could give devices work, then each
 * event loop with its devices, and at last its clocks. They go on in the reverse order.
 *
 * <p>Time: the host's goes on, and with it the processor's time stamp counters and KVM's clock. So
 * both are set back when the machine goes on: the counters of all vCPUs by what the first one's has
 * counted meanwhile, so that they agree as before; what it is counted from is read when no vCPU can
 * have seen more. Before Linux 5.16 the counters cannot be set back exactly and are left alone;
 * then a guest that goes by KVM's clock sees no time pass, and one that goes by the counter does.
 *
 * <p>One thread at a time pauses or resumes; {@link #end} may be called on any.
 */
final class MachinePause {
  private final KvmVm vm;
  private final List<Vcpu> vcpus;
  private final Map<EventLoop, List<AttachedDevice>> devices;
  private final BooleanSupplier ended;

  private boolean paused;
  private long tsc;
  private KvmVm.@Nullable Time time;

  /**
   * @param devices by the event loop that their work is done on
   * @param ended whether the machine has ended: {@link #end} was called or will be
   */
  MachinePause(
      KvmVm vm,
      List<Vcpu> vcpus,
      Map<EventLoop, List<AttachedDevice>> devices,
      BooleanSupplier ended) {
    this.vm = vm;
    this.vcpus = vcpus;
    this.devices = devices;
    this.ended = ended;
  }

  /**
   * Has the machine stand still; of no effect when it does, or has ended.
   *
   * @param deadline of {@link System#nanoTime}
   * @return what does not stand still in time; empty when all does
   * @throws dev.nacelle.kvm.sys.ErrnoException when the host refuses
   */
  List<String> pause(long deadline) {
    List<String> running = new ArrayList<>();
    if (paused || ended.getAsBoolean()) {
      return running;
    }
    paused = true;
    vcpus.forEach(Vcpu::pause);
    for (Vcpu vcpu : vcpus) {
      if (!await(vcpu::awaitRest, deadline)) {
        running.add(vcpu.thread().getName());
      }
    }
    if (running.isEmpty()) {
      pauseDevices(deadline, running);
    }
    if (running.isEmpty()) {
      tsc = vcpus.get(0).tsc().orElse(0);
      time = vm.time();
    }
    return running;
  }

  private void pauseDevices(long deadline, List<String> running) {
    devices.forEach((loop, itsOwn) -> loop.pause(() -> itsOwn.forEach(AttachedDevice::pause)));
    if (ended.getAsBoolean()) {
      // Whoever ended it may have had them go on before.
      end();
    }
    for (EventLoop loop : devices.keySet()) {
      if (!await(loop::awaitRest, deadline)) {
        running.add(loop.thread().getName());
      }
    }
  }

  /** Waits for something until a deadline. */
  @FunctionalInterface
  private interface Wait {
    boolean until(long deadline) throws InterruptedException;
  }

  /** Interrupts are kept for later: a machine that is half paused is of no use. */
  private static boolean await(Wait what, long deadline) {
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return what.until(deadline);
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /**
   * Has the machine go on; of no effect when it is not paused.
   *
   * @throws dev.nacelle.kvm.sys.ErrnoException when the host refuses
   */
  void resume() {
    KvmVm.Time then = time;
    if (!paused || then == null) {
      return;
    }
    paused = false;
    devices.values().forEach(itsOwn -> itsOwn.forEach(AttachedDevice::resume));
    devices.keySet().forEach(EventLoop::resume);
    OptionalLong now = vcpus.get(0).tsc();
    if (now.isPresent()) {
      long ticks = now.getAsLong() - tsc;
      vcpus.forEach(vcpu -> vcpu.turnBack(ticks));
      vm.restoreTime(then);
    }
    vcpus.forEach(Vcpu::resume);
  }

  /** Has event loops go on, for the machine has ended; its vCPUs know. */
  void end() {
    devices.keySet().forEach(EventLoop::resume);
  }
}
