// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.DataSize;
import dev.nacelle.DiskUse;
import dev.nacelle.VmExit;
import dev.nacelle.VmStatistics;
import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.device.virtio.BalloonDevice;
import dev.nacelle.kvm.device.virtio.vsock.VsockDevice;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.vcpu.Vcpu;
import dev.nacelle.spi.Console;
import dev.nacelle.spi.ConsoleRing;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.VirtualMachine;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A virtual machine, as its users see it: {@link MachineBuilder} has put it together, and {@link
 * MachineLife} ends it and takes it apart.
 */
final class KvmVirtualMachine implements VirtualMachine {
  private final MachineLife life;
  private final List<Vcpu> vcpus;
  private final InitialState initialState;
  private final List<AttachedDevice> devices;
  private final VsockDevice vsock;
  private final @Nullable BalloonDevice balloon;
  private final GuestMemory memory;
  private final ConsoleRing console;

  /**
   * @param vcpus of which the first begins in the initial state
   * @param balloon null where the guest keeps its memory
   */
  KvmVirtualMachine(
      MachineLife life,
      List<Vcpu> vcpus,
      InitialState initialState,
      List<AttachedDevice> devices,
      VsockDevice vsock,
      @Nullable BalloonDevice balloon,
      GuestMemory memory,
      ConsoleRing console) {
    this.life = life;
    this.vcpus = List.copyOf(vcpus);
    this.initialState = initialState;
    this.devices = List.copyOf(devices);
    this.vsock = vsock;
    this.balloon = balloon;
    this.memory = memory;
    this.console = console;
  }

  @Override
  public void start() {
    life.start();
    for (Vcpu vcpu : vcpus) {
      vcpu.start(vcpu == vcpus.get(0) ? initialState : null);
    }
  }

  @Override
  public CompletableFuture<VmExit> exit() {
    return life.exit();
  }

  @Override
  public Listener listen(int port, Consumer<GuestConnection> onConnect) {
    return vsock.listen(port, onConnect);
  }

  @Override
  public CompletableFuture<GuestConnection> connect(int port) {
    return vsock.connect(port);
  }

  @Override
  public Set<Ability> abilities() {
    return balloon == null ? Set.of(Ability.PAUSE) : Set.of(Ability.PAUSE, Ability.RESIZE_MEMORY);
  }

  @Override
  public void pause() {
    life.pause();
  }

  @Override
  public void resume() {
    life.resume();
  }

  @Override
  public void setMemory(DataSize size) {
    long given = memory.size() - size.bytes();
    if (given < 0 || size.bytes() <= 0 || given % BalloonDevice.PAGE != 0) {
      throw new IllegalArgumentException(
          size + " is no multiple of 4096 bytes, or more than " + DataSize.bytes(memory.size()));
    }
    balloon().inflateTo(given);
  }

  @Override
  public DataSize memory() {
    return DataSize.bytes(memory.size() - balloon().given());
  }

  private BalloonDevice balloon() {
    if (balloon == null) {
      throw new UnsupportedOperationException("the machine was made without a balloon");
    }
    return balloon;
  }

  @Override
  public Console console() {
    return console;
  }

  @Override
  public VmStatistics statistics() {
    Map<String, Long> exits = new HashMap<>();
    vcpus.forEach(vcpu -> vcpu.addExits(exits));
    Map<String, Long> ignored = new HashMap<>();
    devices.forEach(device -> device.addIgnored(ignored));
    OptionalLong firstRun = vcpus.get(0).firstRunNanoTime();
    VmStatistics statistics =
        firstRun.isPresent()
            ? VmStatistics.of(firstRun.getAsLong(), exits, ignored)
            : VmStatistics.of(exits, ignored);
    Map<String, DiskUse> disks = new HashMap<>();
    devices.forEach(device -> device.addDiskUse(disks));
    statistics = statistics.withDisks(disks).withMemory(DataSize.bytes(memory.resident()));
    return statistics.withCpuTime(Duration.ofNanos(vcpus.stream().mapToLong(Vcpu::cpuNanos).sum()));
  }

  @Override
  public void close() {
    life.close();
  }

  /** As {@link #close}, and returns when nothing at all is left of it. */
  void closeWholly() {
    life.closeWholly();
  }

  @Override
  public String toString() {
    return life.toString();
  }
}
