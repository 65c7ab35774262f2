// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.VmExit;
import dev.nacelle.VmStatistics;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.fake.InMemoryGuestConnection;
import dev.nacelle.net.HostNetwork;
import dev.nacelle.spi.BlockingConnection;
import dev.nacelle.spi.Console;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Machines without a machine: the real agent, as a process on this kernel (guest-agent's
 * agent_on_socket), with what it would have in its machine in namespaces of its own. For what many
 * containers are to be judged by, each of which takes an emulated machine the better part of a
 * minute and this one a second. Needs root, loop devices and a control group hierarchy of version
 * 2.
 */
final class AgentHypervisor implements HypervisorProvider, Hypervisor {
  private static final int BUFFER = 64 * 1024;

  private final Path agent;

  /** Starts all agents: each is killed at the end of the thread that started it (prctl(2)). */
  private final ExecutorService starter =
      Executors.newSingleThreadExecutor(
          task -> {
            Thread thread = new Thread(task, "agents");
            thread.setDaemon(true);
            return thread;
          });

  AgentHypervisor(Path agent) {
    this.agent = agent;
  }

  @Override
  public String name() {
    return "agent";
  }

  @Override
  public boolean supportsPlatform() {
    return true;
  }

  @Override
  public List<GuestDriver> drivers() {
    return List.of();
  }

  @Override
  public HostCheck check() {
    return HostCheck.of(
        name(), List.of(HostCheck.Finding.passed("kernel", "it is this machine's")));
  }

  @Override
  public Hypervisor open() {
    return this;
  }

  @Override
  public List<GuestDisk> guestDisks(VmSpec spec) {
    return spec.disks().stream()
        .<GuestDisk>map(disk -> new GuestDisk.VirtioSerial(disk.serial()))
        .toList();
  }

  @Override
  public VirtualMachine create(VmSpec spec) {
    try {
      AgentMachine machine = new AgentMachine();
      try {
        machine.attach(spec.disks());
      } catch (IOException e) {
        machine.close();
        throw e;
      }
      return machine;
    } catch (IOException e) {
      throw new HypervisorException(Stage.CREATE, String.valueOf(e.getMessage()), null, e);
    }
  }

  @Override
  public void close() {
    starter.shutdown();
  }

  private static String output(String... command) throws IOException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    if (process.onExit().join().exitValue() != 0) {
      throw new IOException(String.join(" ", command) + ": " + text);
    }
    return text.strip();
  }

  private static Path cgroups() throws IOException {
    return Files.readAllLines(Path.of("/proc/self/mounts")).stream()
        .map(line -> line.split(" ", -1))
        .filter(fields -> fields[2].equals("cgroup2"))
        .map(fields -> Path.of(fields[1]))
        .findFirst()
        .orElseThrow(() -> new IOException("there are no control groups of version 2"));
  }

  private final class AgentMachine implements VirtualMachine {
    private final Path directory = Files.createTempDirectory("nacelle-agent-");
    private final Path cgroup = cgroups().resolve(directory.getFileName());
    private final List<String> devices = new ArrayList<>();
    private final List<ServerSocketChannel> servers = new CopyOnWriteArrayList<>();
    private final CompletableFuture<VmExit> exit = new CompletableFuture<>();
    private final ExecutorService events = Executors.newSingleThreadExecutor();
    private volatile @Nullable Process process;
    private volatile boolean closing;
    private boolean closed;

    AgentMachine() throws IOException {
      Files.createDirectory(directory.resolve("staging"));
      Files.createDirectory(cgroup);
    }

    void attach(List<VmSpec.Disk> disks) throws IOException {
      for (VmSpec.Disk disk : disks) {
        List<String> command = new ArrayList<>(List.of("losetup", "--find", "--show"));
        if (disk.readOnly()) {
          command.add("--read-only");
        }
        command.add(disk.image().toString());
        String device = output(command.toArray(String[]::new));
        devices.add(device);
        Path block = directory.resolve("block").resolve(Path.of(device).getFileName());
        Files.createDirectories(block);
        Files.writeString(block.resolve("serial"), disk.serial());
      }
    }

    @Override
    public void start() {
      ProcessBuilder command =
          new ProcessBuilder(
                  "unshare",
                  "--uts",
                  "--ipc",
                  "--net",
                  "sh",
                  "-c",
                  "busybox ip link set lo up && exec \"$0\" \"$@\"",
                  agent.toString(),
                  directory.resolve("socket").toString(),
                  directory.resolve("block").toString(),
                  cgroup.toString(),
                  directory.resolve("staging").toString())
              .redirectErrorStream(true)
              .redirectOutput(directory.resolve("console").toFile());
      try {
        process = starter.submit(command::start).get();
      } catch (ExecutionException | InterruptedException e) {
        throw new HypervisorException(Stage.CREATE, String.valueOf(e.getMessage()), null, e);
      }
      process.onExit().thenAccept(this::ended);
    }

    private void ended(Process agent) {
      VmExit.Reason reason = closing ? VmExit.Reason.CLOSED : VmExit.Reason.POWER_OFF;
      exit.complete(VmExit.of(reason, "the agent's exit code is " + agent.exitValue()));
    }

    private static void toHost(SocketChannel socket, BlockingConnection guest) throws Exception {
      ByteBuffer buffer = ByteBuffer.allocate(BUFFER);
      try (guest) {
        while (socket.read(buffer.clear()) >= 0) {
          guest.write(Arrays.copyOf(buffer.array(), buffer.position()));
        }
        guest.connection().shutdownOutput();
      }
    }

    private static void toGuest(BlockingConnection guest, SocketChannel socket) throws Exception {
      ByteBuffer buffer = ByteBuffer.allocate(BUFFER);
      try (socket) {
        while (guest.read(buffer.clear()) >= 0) {
          buffer.flip();
          while (buffer.hasRemaining()) {
            socket.write(buffer);
          }
        }
      }
    }

    @Override
    public CompletableFuture<VmExit> exit() {
      return exit.copy();
    }

    /** On the socket that is the agent's for that port. */
    @Override
    public Listener listen(int port, Consumer<GuestConnection> onConnect) {
      Path path =
          switch (port) {
            case AgentClient.PORT -> directory.resolve("socket");
            case HostNetwork.PORT -> directory.resolve("socket.network");
            default -> throw new IllegalArgumentException("the agent dials no port " + port);
          };
      try {
        ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        servers.add(server);
        server.bind(UnixDomainSocketAddress.of(path));
        thread(
            () -> {
              while (true) {
                onConnect.accept(carry(server.accept(), port));
              }
            });
        return () -> close(server);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private static void close(ServerSocketChannel server) {
      try {
        server.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private GuestConnection carry(SocketChannel socket, int port) {
      InMemoryGuestConnection.Pair pair =
          InMemoryGuestConnection.pair(BUFFER, 1, events, 1024, port);
      BlockingConnection guest = new BlockingConnection(pair.guest());
      thread(() -> toHost(socket, guest));
      thread(() -> toGuest(guest, socket));
      return pair.host();
    }

    @Override
    public CompletableFuture<GuestConnection> connect(int port) {
      return CompletableFuture.failedFuture(new IOException("there is no vsock here"));
    }

    @Override
    public Set<Ability> abilities() {
      return Set.of();
    }

    @Override
    public void pause() {
      throw new UnsupportedOperationException();
    }

    @Override
    public void resume() {
      throw new UnsupportedOperationException();
    }

    @Override
    public Console console() {
      return new Console() {
        @Override
        public String tail() {
          try {
            return Files.readString(directory.resolve("console"));
          } catch (IOException e) {
            return "";
          }
        }

        @Override
        public Listener stream(Consumer<byte[]> onOutput) {
          return () -> {};
        }
      };
    }

    @Override
    public VmStatistics statistics() {
      return VmStatistics.of(Map.of(), Map.of());
    }

    /** What it ran ends with it, as the workload's init does. */
    @Override
    public synchronized void close() {
      if (closed) {
        return;
      }
      closed = true;
      closing = true;
      try {
        Process agentProcess = process;
        if (agentProcess == null) {
          exit.complete(VmExit.of(VmExit.Reason.CLOSED, "it was not started"));
        } else {
          agentProcess.destroyForcibly();
          agentProcess.onExit().thenAccept(this::ended).join();
        }
        servers.forEach(AgentMachine::close);
        Files.writeString(cgroup.resolve("cgroup.kill"), "1");
        String remove = "until find " + cgroup + " -depth -type d -exec rmdir {} +; do :; done";
        output("timeout", "60", "sh", "-c", remove + " 2>/dev/null");
        for (String device : devices) {
          output("losetup", "--detach", device);
        }
        output("rm", "-r", directory.toString());
      } catch (IOException e) {
        throw new IllegalStateException(e);
      } finally {
        events.shutdown();
      }
    }
  }

  /** What ends with a connection or a machine. */
  private interface Task {
    void run() throws Exception;
  }

  private static void thread(Task task) {
    Thread thread =
        new Thread(
            () -> {
              try {
                task.run();
              } catch (Exception e) {
                // Its machine has ended.
              }
            });
    thread.setDaemon(true);
    thread.start();
  }
}
