// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.HypervisorException;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Stage;
import dev.nacelle.kvm.boot.BareImage;
import dev.nacelle.kvm.boot.LinuxKernel;
import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.cpu.CpuidPolicy;
import dev.nacelle.kvm.platform.MachineLayout;
import dev.nacelle.kvm.sys.Capability;
import dev.nacelle.kvm.sys.CoreScheduling;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.vcpu.CoreGroup;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.MachineThread;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/** KVM, opened: what is the same for all of its virtual machines. */
final class KvmHypervisor implements Hypervisor {
  /** All but the virtio socket, the entropy device and the balloon. */
  private static final int MAX_DISKS = MachineLayout.MAX_MMIO_DEVICES - 3;

  /** What a thread that is stuck is waited for when machines are closed. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  /**
   * How many machines of KVM may be on their way out with nobody waiting for them, for some tens of
   * milliseconds. Each holds a descriptor, a thread, the addresses of what was its memory, and what
   * the kernel has for it: its vCPUs, and the page tables of that memory, a 512th of it at most.
   */
  static final int MAX_UNAWAITED = 16;

  private final Kvm kvm;
  private final Duration patience;

  /** Null where this host has none; not where it needs none now, as SMT may be switched on. */
  private final @Nullable CoreScheduling coreScheduling;

  private final CpuidPolicy cpuid;
  private final int maxCpus;
  private final Set<MachineLife> machines = ConcurrentHashMap.newKeySet();
  private final Semaphore unawaited = new Semaphore(MAX_UNAWAITED);

  /** The machine's thread that was the last to release one; it has waited for the one before it. */
  private final AtomicReference<@Nullable Thread> lastThread = new AtomicReference<>();

  /** Guards the two below; never held while anything could wait for the host. */
  private final Object opened = new Object();

  /** How many machines are being built; the last of them closes the device where this is closed. */
  private int builders;

  private boolean closed;

  /** Takes the device over; it is closed with this, or when this fails. */
  KvmHypervisor(Kvm kvm) {
    this(kvm, PATIENCE);
  }

  /** Likewise, with another time that closing waits for stuck threads. */
  KvmHypervisor(Kvm kvm, Duration patience) {
    this(kvm, patience, CoreScheduling.ofHost());
  }

  /** Likewise, with another way to keep cores apart. */
  KvmHypervisor(Kvm kvm, Duration patience, CoreScheduling coreScheduling) {
    this.kvm = kvm;
    this.patience = patience;
    try {
      long answer = coreScheduling.cookie(0);
      this.coreScheduling = answer >= 0 || answer == -Errno.ENODEV ? coreScheduling : null;
      cpuid =
          new CpuidPolicy(
              kvm.supportedCpuid(), kvm.check(Capability.KVM_CAP_TSC_DEADLINE_TIMER) != 0);
      maxCpus = Math.min(kvm.check(Capability.KVM_CAP_MAX_VCPUS), MachineLayout.MAX_CPUS);
    } catch (RuntimeException | Error e) {
      kvm.close();
      throw e;
    }
  }

  /** What guests are told of their processors. */
  CpuidPolicy cpuid() {
    return cpuid;
  }

  @Override
  public VirtualMachine create(VmSpec spec) {
    if (spec.disks().size() > MAX_DISKS) {
      throw new HypervisorException(
          Stage.CREATE,
          "the virtual machine " + spec.name() + " wants " + spec.disks().size() + " disks",
          "It can have at most " + MAX_DISKS + ".",
          null);
    }
    return create(machine(spec));
  }

  /** What a machine of this specification is made of. */
  static MachineSpec machine(VmSpec spec) {
    List<DeviceFactory> devices = new ArrayList<>();
    devices.add(DeviceFactory.entropy(spec.rateLimits().entropy().orElse(null)));
    for (VmSpec.Disk disk : spec.disks()) {
      devices.add(DeviceFactory.disk(disk, spec.rateLimits().disks().orElse(null)));
    }
    return new MachineSpec(
        spec.name(),
        spec.memory().bytes(),
        spec.cpus(),
        Math.toIntExact(spec.consoleSize().bytes()),
        payload(spec.guest()),
        devices,
        spec.rateLimits(),
        spec.coreScheduling(),
        spec.cpuQuota(),
        spec.niceness(),
        spec.guest() instanceof VmSpec.Linux linux ? linux.memoryPolicy() : MemoryPolicy.SPEED);
  }

  @Override
  public List<GuestDisk> guestDisks(VmSpec spec) {
    return spec.disks().stream()
        .<GuestDisk>map(disk -> new GuestDisk.VirtioSerial(disk.serial()))
        .toList();
  }

  private static Payload payload(VmSpec.Guest guest) {
    // A switch over the types of a sealed interface comes with Java 21.
    return guest instanceof VmSpec.Linux linux
        ? new LinuxKernel(
            linux.kernel(),
            linux.initramfs().orElse(null),
            linux.parameters(),
            linux.memoryPolicy(),
            linux.paravirtualClock())
        : new BareImage(((VmSpec.Bare) guest).image(), ((VmSpec.Bare) guest).commandLine());
  }

  /** Builds any machine. */
  KvmVirtualMachine create(MachineSpec spec) {
    synchronized (opened) {
      if (closed) {
        throw new IllegalStateException("the hypervisor is closed");
      }
      builders++;
    }
    try {
      KvmVirtualMachine machine = build(spec);
      synchronized (opened) {
        if (!closed) {
          return machine;
        }
      }
      // Whoever closed this may not have seen it.
      machine.closeWholly();
      throw new IllegalStateException("the hypervisor was closed meanwhile");
    } finally {
      synchronized (opened) {
        builders--;
        opened.notifyAll();
        closeDeviceIfUnused();
      }
    }
  }

  /** Call with the lock. */
  private void closeDeviceIfUnused() {
    if (closed && builders == 0) {
      kvm.close();
    }
  }

  private KvmVirtualMachine build(MachineSpec spec) {
    if (spec.cpus() > maxCpus) {
      throw new HypervisorException(
          Stage.CREATE,
          "the virtual machine " + spec.name() + " wants " + spec.cpus() + " vCPUs",
          "This host's KVM gives a virtual machine at most " + maxCpus + ".",
          null);
    }
    try {
      MachineLife life = new MachineLife(spec.name(), patience, unawaited, this::released);
      KvmVirtualMachine machine = MachineBuilder.build(kvm, cpuid, spec, coreGroup(spec), life);
      machines.add(life);
      return machine;
    } catch (ErrnoException e) {
      throw new HypervisorException(
          Stage.CREATE,
          "cannot create the virtual machine " + spec.name() + ": " + e.getMessage(),
          e.remedy(),
          e);
    } catch (OutOfMemoryError e) {
      // What the JVM throws where the host gives no thread, however much memory there is.
      if (!String.valueOf(e.getMessage()).contains("native thread")) {
        throw e;
      }
      throw new HypervisorException(
          Stage.CREATE,
          "cannot create the virtual machine " + spec.name() + ": " + e.getMessage(),
          "Raise the limit of threads (ulimit -u, TasksMax of the systemd unit, the container's"
              + " limit of processes): it needs "
              + (spec.cpus() + 2 + spec.devices().stream().filter(DeviceFactory::waits).count())
              + ".",
          e);
    }
  }

  /** Called by the thread that has released it, which does no more. */
  private void released(MachineLife life) {
    Thread releasing = Thread.currentThread();
    // Not another's, such as one in whose callback a machine could not be built: that lives on.
    if (life.has(releasing)) {
      awaitEnd(lastThread.getAndSet(releasing));
    }
    machines.remove(life);
  }

  private static void awaitEnd(@Nullable Thread thread) {
    if (thread != null) {
      Teardown.join(thread);
    }
  }

  private @Nullable CoreGroup coreGroup(MachineSpec spec) {
    return coreScheduling != null && spec.coreScheduling() ? new CoreGroup(coreScheduling) : null;
  }

  @Override
  public void close() {
    synchronized (opened) {
      closed = true;
    }
    // One that comes now is closed by its builder. Without the lock: a callback of theirs may be
    // asking for one.
    // All end, and are released, at the same time, each by its own threads.
    machines.forEach(MachineLife::beginClose);
    long deadline = System.nanoTime() + patience.toNanos();
    awaitBuilders(deadline);
    machines.forEach(machine -> machine.awaitRelease(deadline));
    if (!MachineThread.isCurrent()) {
      awaitEnd(lastThread.get());
    }
  }

  /**
   * Waits until nobody builds a machine any more, or until the deadline (of {@link
   * System#nanoTime}): a file that the host cannot read holds up whoever builds one of it.
   * Interrupts are kept for later.
   */
  private void awaitBuilders(long deadline) {
    boolean interrupted = false;
    synchronized (opened) {
      long left = deadline - System.nanoTime();
      while (builders > 0 && left > 0 && !MachineThread.isCurrent()) {
        try {
          TimeUnit.NANOSECONDS.timedWait(opened, left);
        } catch (InterruptedException e) {
          interrupted = true;
        }
        left = deadline - System.nanoTime();
      }
      closeDeviceIfUnused();
      if (builders > 0 && left <= 0) {
        System.getLogger(KvmHypervisor.class.getName())
            .log(
                Level.WARNING,
                "still being made, of files that do not answer: {0} virtual machines; each is"
                    + " closed when that ends",
                builders);
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
