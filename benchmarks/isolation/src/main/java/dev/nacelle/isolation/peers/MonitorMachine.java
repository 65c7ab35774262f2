// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.VmStatistics;
import dev.nacelle.spi.Console;
import dev.nacelle.spi.ConsoleRing;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestLostException;
import dev.nacelle.spi.MachineThread;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.lang.System.Logger.Level;
import java.net.ConnectException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A machine that is a process. Its console is all that the process says: the guest's serial port,
 * and the monitor's complaints.
 */
final class MonitorMachine implements VirtualMachine {
  private static final System.Logger LOGGER = System.getLogger(MonitorMachine.class.getName());

  /** How long a killed process is waited for. */
  private static final long END_SECONDS = 30;

  /** What a monitor behind Unix sockets answers a connect with: "OK PORT". */
  private static final int MOST_OF_ANSWER = 32;

  private static final int EPHEMERAL_PORT = -1;

  private final Monitor monitor;
  private final VmSpec spec;
  private final int cid;
  private final Path directory;
  private final List<String> command;
  private final SocketLoop loop;
  private final VhostPorts ports;
  private final Consumer<MonitorMachine> onClose;
  private final ConsoleRing console;
  private final CompletableFuture<VmExit> exit = new CompletableFuture<>();
  private final Set<MonitorConnection> connections = ConcurrentHashMap.newKeySet();
  private final Map<Integer, Runnable> listeners = new ConcurrentHashMap<>();
  private final Set<CompletableFuture<GuestConnection>> connecting = ConcurrentHashMap.newKeySet();

  private volatile @Nullable Process process;
  private volatile long startedAt;
  private boolean closed;

  MonitorMachine(
      Monitor monitor,
      VmSpec spec,
      int cid,
      Path directory,
      List<String> command,
      SocketLoop loop,
      VhostPorts ports,
      Consumer<MonitorMachine> onClose) {
    this.monitor = monitor;
    this.spec = spec;
    this.cid = cid;
    this.directory = directory;
    this.command = command;
    this.loop = loop;
    this.ports = ports;
    this.onClose = onClose;
    console = new ConsoleRing((int) spec.consoleSize().bytes(), loop::execute, Runnable::run);
  }

  String name() {
    return spec.name();
  }

  OptionalLong process() {
    Process running = process;
    return running == null ? OptionalLong.empty() : OptionalLong.of(running.pid());
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
  public synchronized void start() {
    if (process != null || exit.isDone()) {
      throw new IllegalStateException("the machine was started already, or has ended");
    }
    try {
      startedAt = System.nanoTime();
      Process started =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectInput(new File("/dev/null"))
              .start();
      process = started;
      new MachineThread(() -> listen(started), spec.name() + " console").start();
    } catch (IOException e) {
      throw new HypervisorException(
          Stage.CREATE, monitor.name() + " does not start: " + e.getMessage(), null, e);
    }
  }

  /** Hands on what the process says, until it has ended. */
  private void listen(Process started) {
    try (InputStream output = started.getInputStream()) {
      byte[] buffer = new byte[4096];
      for (int n = output.read(buffer); n >= 0; n = output.read(buffer)) {
        for (int i = 0; i < n; i++) {
          console.write(buffer[i]);
        }
      }
    } catch (IOException e) {
      LOGGER.log(Level.DEBUG, "the console of " + spec.name() + " has ended", e);
    }
    int code = waitFor(started);
    boolean wasClosed;
    synchronized (this) {
      wasClosed = closed;
    }
    if (wasClosed) {
      end(VmExit.of(Reason.CLOSED, "the machine was closed"));
    } else if (code == 0) {
      end(VmExit.of(Reason.POWER_OFF, monitor.name() + " has ended, as its guest has"));
    } else {
      end(VmExit.of(Reason.HOST_ERROR, monitor.name() + " has ended with " + code));
    }
  }

  private static int waitFor(Process process) {
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return process.waitFor();
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

  private void end(VmExit how) {
    if (exit.complete(how)) {
      connections.forEach(MonitorConnection::ended);
      connecting.forEach(
          one -> one.completeExceptionally(new GuestLostException("the machine has ended")));
      listeners.values().forEach(Runnable::run);
    }
  }

  @Override
  public CompletableFuture<VmExit> exit() {
    return exit.copy();
  }

  /** Whether there is no process, or it has ended, whether that was told already or not. */
  private boolean hasEnded() {
    Process running = process;
    return exit.isDone() || (running != null && !running.isAlive());
  }

  @Override
  public synchronized Listener listen(int port, Consumer<GuestConnection> onConnect) {
    if (exit.isDone()) {
      throw new IllegalStateException("the machine has ended");
    }
    Consumer<HostSocket.Accepted> accepted =
        one -> {
          MonitorConnection connection = connection(one.socket(), port, one.port());
          try {
            connection.open();
            onConnect.accept(connection);
          } catch (IOException | RuntimeException e) {
            connection.close();
            LOGGER.log(Level.WARNING, "a connection of " + spec.name() + " was not taken", e);
          }
        };
    Runnable stop;
    try {
      stop = monitor.vhostVsock() ? atHost(port, accepted) : atFile(port, accepted);
    } catch (IOException e) {
      throw new HypervisorException(
          Stage.CREATE,
          "Nobody can listen on port " + Integer.toUnsignedString(port) + ": " + e.getMessage(),
          null,
          e);
    }
    listeners.put(port, stop);
    return () -> {
      if (listeners.remove(port, stop)) {
        stop.run();
      }
    };
  }

  private Runnable atHost(int port, Consumer<HostSocket.Accepted> accepted) throws IOException {
    ports.listen(cid, port, accepted);
    return () -> ports.stop(cid, port);
  }

  private Runnable atFile(int port, Consumer<HostSocket.Accepted> accepted) throws IOException {
    if (listeners.containsKey(port)) {
      throw new IllegalStateException("port " + port + " is being listened to already");
    }
    Path file = directory.resolve("vsock_" + Integer.toUnsignedString(port));
    HostSocket socket = HostSocket.listen(HostSocket.Address.of(file));
    long key =
        loop.add(
            socket,
            () -> {
              try {
                for (HostSocket.Accepted one = socket.accept();
                    one != null;
                    one = socket.accept()) {
                  accepted.accept(one);
                }
              } catch (IOException e) {
                LOGGER.log(Level.WARNING, "no connections on " + file, e);
              }
            });
    return () -> {
      loop.forget(key);
      socket.close();
      try {
        Files.deleteIfExists(file);
      } catch (IOException e) {
        LOGGER.log(Level.DEBUG, file + " is left until the machine is closed", e);
      }
    };
  }

  private MonitorConnection connection(HostSocket socket, int hostPort, int guestPort) {
    MonitorConnection connection =
        new MonitorConnection(
            loop, socket, hostPort, guestPort, this::hasEnded, connections::remove);
    connections.add(connection);
    return connection;
  }

  /** A guest that has not dialled yet may be asked too early, and has refused then. */
  @Override
  public CompletableFuture<GuestConnection> connect(int port) {
    CompletableFuture<GuestConnection> future = new CompletableFuture<>();
    if (exit.isDone()) {
      future.completeExceptionally(new GuestLostException("the machine has ended"));
      return future;
    }
    connecting.add(future);
    try {
      HostSocket socket =
          HostSocket.connect(
              monitor.vhostVsock()
                  ? HostSocket.Address.ofGuest(cid, port)
                  : HostSocket.Address.of(directory.resolve("vsock")));
      Attempt attempt = new Attempt(socket, port, future);
      loop.execute(attempt::begin);
      // Of what comes to nothing, or was given up, nothing is left.
      var unused = future.whenComplete((connection, failure) -> attempt.end(connection != null));
    } catch (IOException e) {
      future.completeExceptionally(e);
    }
    var unused = future.whenComplete((connection, failure) -> connecting.remove(future));
    return future;
  }

  /** A connection that is being made. On the loop alone, but for its end. */
  private final class Attempt {
    private final HostSocket socket;
    private final int port;
    private final CompletableFuture<GuestConnection> future;
    private final StringBuilder answer = new StringBuilder();
    private long key;
    private boolean asked;

    Attempt(HostSocket socket, int port, CompletableFuture<GuestConnection> future) {
      this.socket = socket;
      this.port = port;
      this.future = future;
    }

    void begin() {
      try {
        // Whose future is done is closed, or waits here to be: a descriptor's number is soon
        // another's.
        synchronized (socket) {
          if (!future.isDone()) {
            key = loop.add(socket, this::advance);
          }
        }
      } catch (IOException e) {
        future.completeExceptionally(e);
      }
    }

    void advance() {
      if (future.isDone()) {
        return;
      }
      try {
        if (!asked) {
          socket.requireConnected();
          asked = true;
          if (!monitor.vhostVsock()) {
            String line = "CONNECT " + Integer.toUnsignedString(port) + "\n";
            socket.write(ByteBuffer.wrap(line.getBytes(StandardCharsets.US_ASCII)));
          }
        }
        if (monitor.vhostVsock() || isAnswered()) {
          MonitorConnection connection = connection(socket, EPHEMERAL_PORT, port);
          connection.adopt(key);
          if (!future.complete(connection)) {
            connection.close();
          }
        }
      } catch (IOException e) {
        future.completeExceptionally(e);
      }
    }

    /** Reads no byte more than the answer has: those that follow are the guest's. */
    private boolean isAnswered() throws IOException {
      ByteBuffer one = ByteBuffer.allocate(1);
      while (true) {
        int n = socket.read(one.clear());
        if (n == 0) {
          return false;
        }
        if (n < 0 || answer.length() == MOST_OF_ANSWER) {
          throw new ConnectException("nobody listens on port " + Integer.toUnsignedString(port));
        }
        char c = (char) one.get(0);
        if (c == '\n') {
          if (!answer.toString().startsWith("OK ")) {
            throw new ConnectException(monitor.name() + " answers " + answer);
          }
          return true;
        }
        answer.append(c);
      }
    }

    void end(boolean connected) {
      if (!connected) {
        socket.close();
        loop.execute(() -> loop.forget(key));
      }
    }
  }

  @Override
  public Console console() {
    return console;
  }

  /** The first vCPU's start is the process's, as far as is known from outside. */
  @Override
  public VmStatistics statistics() {
    return process == null
        ? VmStatistics.of(Map.of(), Map.of())
        : VmStatistics.of(startedAt, Map.of(), Map.of());
  }

  /** Begins to end. */
  void kill() {
    Process running;
    synchronized (this) {
      closed = true;
      running = process;
    }
    if (running != null) {
      running.destroyForcibly();
    }
  }

  @Override
  public void close() {
    kill();
    if (MachineThread.isCurrent()) {
      MachineThread.closer(this::finish, spec.name() + " close").start();
    } else {
      finish();
    }
  }

  private synchronized void finish() {
    Process running = process;
    try {
      if (running != null && !running.waitFor(END_SECONDS, TimeUnit.SECONDS)) {
        LOGGER.log(Level.WARNING, "the process of " + spec.name() + " does not end");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    end(VmExit.of(Reason.CLOSED, "the machine was closed"));
    connections.forEach(MonitorConnection::close);
    delete(directory);
    onClose.accept(this);
  }

  /** A machine's directory, in which there are files alone. */
  static void delete(Path directory) {
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        Files.deleteIfExists(file);
      }
      Files.deleteIfExists(directory);
    } catch (java.nio.file.NoSuchFileException e) {
      // Closed before.
    } catch (IOException e) {
      LOGGER.log(Level.WARNING, directory + " is left behind", e);
    }
  }
}
