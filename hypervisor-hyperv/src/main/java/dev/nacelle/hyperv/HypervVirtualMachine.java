// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.VmExit;
import dev.nacelle.VmStatistics;
import dev.nacelle.hyperv.schema.DocumentException;
import dev.nacelle.hyperv.schema.SystemProperties;
import dev.nacelle.hyperv.sys.ComputeSystem;
import dev.nacelle.hyperv.sys.HResult;
import dev.nacelle.hyperv.sys.HcsException;
import dev.nacelle.hyperv.sys.HcsLimits;
import dev.nacelle.hyperv.sys.NamedPipe;
import dev.nacelle.spi.Console;
import dev.nacelle.spi.ConsoleRing;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.MachineThread;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.io.InputStream;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A machine of the Host Compute Service with two threads: one for its connections, and one that
 * reads its console, and then tells its end.
 *
 * <p>Closing goes the other way round than making: the machine is ended, and its handle closed;
 * then the console, the connections and the disks, which nobody uses any more.
 */
final class HypervVirtualMachine implements VirtualMachine {
  private static final Set<Ability> ABILITIES = Set.of(Ability.PAUSE);

  private static final byte[] ELF = {0x7f, 'E', 'L', 'F'};
  private static final byte[] BZIMAGE = "HdrS".getBytes(StandardCharsets.US_ASCII);

  /** Where a bzImage has it (Documentation/arch/x86/boot.rst). */
  private static final int BZIMAGE_AT = 0x202;

  /** What to do where one cannot be read, written to, or given another name. */
  private static final String FILES =
      "See that the cache and the scratch directory are on NTFS, which has hard links, that this"
          + " user may write to them, and that nobody removes files there.";

  private final String name;
  private final Consumer<HypervVirtualMachine> onReleased;
  private final MachineEnd end;
  private final MachineDisks disks;
  private final NamedPipe pipe;
  private final ComputeSystem system;
  private final GuestSockets sockets;
  private final ConsoleRing console;
  private final MachineThread thread;
  private final CompletableFuture<VmExit> exit = new CompletableFuture<>();

  /** What the console's listeners are to get, on the thread that reads it. */
  private @Nullable Runnable delivery;

  private final Object starting = new Object();
  private boolean started; // guarded by starting
  private boolean closing; // guarded by starting
  private volatile OptionalLong firstRun = OptionalLong.empty();

  /** Held while it is paused or resumed. */
  private final Object pausing = new Object();

  private boolean paused; // guarded by pausing

  private final Object releasing = new Object();
  private boolean released; // guarded by releasing

  /** Takes over what was made for it. */
  private HypervVirtualMachine(
      VmSpec spec,
      MachineEnd end,
      MachineDisks disks,
      NamedPipe pipe,
      ComputeSystem system,
      GuestSockets sockets,
      Consumer<HypervVirtualMachine> onReleased) {
    this.name = spec.name();
    this.end = end;
    this.disks = disks;
    this.pipe = pipe;
    this.system = system;
    this.sockets = sockets;
    this.onReleased = onReleased;
    console =
        new ConsoleRing(
            Math.toIntExact(spec.consoleSize().bytes()), task -> delivery = task, Runnable::run);
    thread = new MachineThread(this::readConsole, threadName(name, "console"));
  }

  private static String threadName(String machine, String thread) {
    return "nacelle-" + machine + "-" + thread;
  }

  /**
   * Makes a machine.
   *
   * @param onReleased called once, when all of it is released
   * @throws HypervisorException when it cannot be made; nothing is left of it
   */
  static HypervVirtualMachine create(
      VmSpec spec,
      MachineDocument.Host host,
      HcsLimits limits,
      Consumer<HypervVirtualMachine> onReleased) {
    // A name that is a GUID is the runtime ID as well, as WSL has it.
    String id = UUID.randomUUID().toString();
    String pipeName = NamedPipe.PREFIX + "nacelle-" + id;
    Deque<AutoCloseable> made = new ArrayDeque<>();
    try {
      requireFiles(spec);
      MachineDisks disks = MachineDisks.prepare(host.owner(), id, spec.disks());
      made.push(disks);
      String document = MachineDocument.of(spec, disks.disks(), host, pipeName).toJson();
      NamedPipe pipe = NamedPipe.create(pipeName);
      made.push(pipe);
      MachineEnd end = new MachineEnd(pipe::end);
      ComputeSystem system = ComputeSystem.create(id, document, end, limits);
      made.push(system);
      UUID runtimeId = SystemProperties.parse(system.properties(null)).runtimeId();
      if (runtimeId == null) {
        throw refuse(spec, "the service does not tell its runtime ID", null, null);
      }
      GuestSockets sockets = new GuestSockets(threadName(spec.name(), "io"), runtimeId);
      made.push(sockets);
      HypervVirtualMachine machine =
          new HypervVirtualMachine(spec, end, disks, pipe, system, sockets, onReleased);
      machine.thread.start();
      made.clear();
      return machine;
    } catch (NoSuchFileException e) {
      throw refuse(spec, e.getFile() + " is not there", FILES, e);
    } catch (FileSystemException e) {
      throw refuse(spec, String.valueOf(e.getMessage()), FILES, e);
    } catch (HcsException e) {
      throw refuse(spec, String.valueOf(e.getMessage()), e.remedy(), e);
    } catch (IOException | DocumentException | OutOfMemoryError e) {
      throw refuse(spec, String.valueOf(e.getMessage()), null, e);
    } finally {
      made.forEach(HypervVirtualMachine::closeQuietly);
    }
  }

  private static void closeQuietly(AutoCloseable part) {
    try {
      part.close();
    } catch (Exception e) {
      logger().log(Level.WARNING, "a part of a machine was not closed", e);
    }
  }

  private static HypervisorException refuse(
      VmSpec spec, String why, @Nullable String remedy, @Nullable Throwable cause) {
    return new HypervisorException(
        Stage.CREATE,
        "cannot create the virtual machine " + spec.name() + ": " + why,
        remedy,
        cause);
  }

  /** The service looks at them when the machine starts, and then names none. */
  private static void requireFiles(VmSpec spec) throws IOException {
    if (!(spec.guest() instanceof VmSpec.Linux linux)) {
      return;
    }
    Path kernel = linux.kernel();
    byte[] head;
    try (InputStream in = Files.newInputStream(kernel)) {
      head = in.readNBytes(BZIMAGE_AT + BZIMAGE.length);
    }
    if (!hasAt(head, 0, ELF) && !hasAt(head, BZIMAGE_AT, BZIMAGE)) {
      throw refuse(
          spec, kernel + " is neither an ELF kernel nor a bzImage", "Use a Linux kernel.", null);
    }
    Path initramfs = linux.initramfs().orElse(null);
    if (initramfs != null && !Files.isRegularFile(initramfs)) {
      throw new NoSuchFileException(initramfs.toString());
    }
  }

  private static boolean hasAt(byte[] bytes, int at, byte[] wanted) {
    return bytes.length >= at + wanted.length
        && Arrays.equals(bytes, at, at + wanted.length, wanted, 0, wanted.length);
  }

  // ---- the console's thread

  private void readConsole() {
    try {
      for (byte[] bytes = pipe.read(); bytes != null; bytes = pipe.read()) {
        for (byte value : bytes) {
          console.write(value);
        }
        Runnable due = delivery;
        if (due != null) {
          delivery = null;
          due.run();
        }
      }
    } catch (IOException | RuntimeException e) {
      logger().log(Level.WARNING, "the rest of the console of " + this + " is lost", e);
    }
    VmExit how = end.await();
    pipe.close();
    sockets.end("the " + this + " has ended: " + how);
    exit.complete(how);
  }

  // ---- the user's side

  /** Returns when the service has started it, which takes a part of a second. */
  @Override
  public void start() {
    synchronized (starting) {
      if (started || closing || end.hasCome()) {
        throw new IllegalStateException(
            "the " + this + (started ? " was started before" : " has ended"));
      }
      started = true;
    }
    firstRun = OptionalLong.of(System.nanoTime());
    try {
      system.start();
    } catch (HcsException e) {
      if (end.hasCome()) {
        return; // which says more
      }
      throw new HypervisorException(
          Stage.CREATE, "cannot start the " + this + ": " + e.getMessage(), e.remedy(), e);
    }
    sockets.started();
  }

  @Override
  public CompletableFuture<VmExit> exit() {
    return exit.copy();
  }

  @Override
  public Listener listen(int port, Consumer<GuestConnection> onConnect) {
    return sockets.listen(port, onConnect);
  }

  @Override
  public CompletableFuture<GuestConnection> connect(int port) {
    return sockets.connect(port);
  }

  @Override
  public Set<Ability> abilities() {
    return ABILITIES;
  }

  @Override
  public void pause() {
    requireNoMachineThread();
    synchronized (pausing) {
      if (firstRun.isEmpty()) {
        throw new IllegalStateException("the " + this + " was not started");
      }
      if (!paused && call("pause", () -> system.pause(null))) {
        paused = true;
        sockets.pause();
      }
    }
  }

  @Override
  public void resume() {
    requireNoMachineThread();
    synchronized (pausing) {
      if (paused && call("resume", system::resume)) {
        paused = false;
        sockets.resume();
      }
    }
  }

  private static void requireNoMachineThread() {
    if (MachineThread.isCurrent()) {
      throw new IllegalStateException("on a thread of a virtual machine");
    }
  }

  /**
   * Makes a call to the service; where that fails, the machine ends.
   *
   * @return false when it has ended already, or is being closed
   */
  private boolean call(String what, Runnable call) {
    synchronized (starting) {
      if (closing || end.hasCome()) {
        return false;
      }
    }
    try {
      call.run();
      return true;
    } catch (HcsException e) {
      synchronized (starting) {
        if (closing || end.hasCome() || e.result() == HResult.HCS_E_SYSTEM_ALREADY_STOPPED) {
          return false;
        }
      }
      String why = "cannot " + what + " the " + this + ": " + e.getMessage();
      end.failing(why);
      try {
        system.endNow();
      } catch (IllegalStateException closed) {
        // Which ends it as well.
      }
      end.failed(why);
      throw new HypervisorException(Stage.RUN, why, e.remedy(), e);
    } catch (IllegalStateException e) {
      return false; // it was closed meanwhile
    }
  }

  @Override
  public Console console() {
    return console;
  }

  /** Hyper-V tells of no exits. */
  @Override
  public VmStatistics statistics() {
    OptionalLong first = firstRun;
    return first.isPresent()
        ? VmStatistics.of(first.getAsLong(), Map.of(), Map.of())
        : VmStatistics.of(Map.of(), Map.of());
  }

  @Override
  public void close() {
    if (MachineThread.isCurrent()) {
      var unused = beginClose();
    } else {
      release();
    }
  }

  /** Has it closed by a thread of its own, which is returned. */
  MachineThread beginClose() {
    MachineThread closer = MachineThread.closer(this::release, threadName(name, "close"));
    closer.start();
    return closer;
  }

  private void release() {
    synchronized (starting) {
      closing = true;
    }
    end.closing();
    synchronized (releasing) {
      if (released) {
        return;
      }
      released = true;
      system.close();
      end.close();
      ThreadEnd.await(thread);
      sockets.close();
      disks.close();
    }
    onReleased.accept(this);
  }

  @Override
  public String toString() {
    return "virtual machine " + name;
  }

  private static System.Logger logger() {
    return System.getLogger(HypervVirtualMachine.class.getName());
  }
}
