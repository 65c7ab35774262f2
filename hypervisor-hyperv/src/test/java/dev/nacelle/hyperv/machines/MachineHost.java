// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.machines;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.nacelle.hyperv.sys.HResult;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.spi.BlockingConnection;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.VirtualMachine;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Boots the machines of the stand-in for the Host Compute Service, which is a library in a process
 * for Linux or for Windows, and relays their guests' sockets. Prints the port of the loopback
 * interface that it listens on, and ends with its standard input.
 *
 * <p>Each connection begins with a line that says what it is. In {@code control}, one for each
 * process of the stand-in, requests are answered in order by {@code ok}, or {@code fail HRESULT
 * BYTES} and a document ResultError of so many bytes:
 *
 * <ul>
 *   <li>{@code create ID BYTES} and a document ComputeSystem; the ID is the runtime ID, too
 *   <li>{@code grant ID BYTES}, {@code revoke ID BYTES} and a path: which disks a machine may have
 *   <li>{@code start}, {@code terminate}, {@code pause}, {@code resume}, {@code close}, each with
 *       an {@code ID}
 * </ul>
 *
 * Unasked come {@code event exited ID BYTES} with a document SystemExitStatus, and before it {@code
 * event crash ID BYTES} with a CrashReport. The end of the connection ends its machines. The others
 * are:
 *
 * <ul>
 *   <li>{@code console ID}: the name of the pipe, then what the guest writes to COM1
 *   <li>{@code connect ID PORT}: the number of Winsock's error, 0 for none; then the bytes of both
 *       directions, whose ends are TCP's
 *   <li>{@code listen ID PORT}: a number likewise; then {@code incoming TOKEN PORT} for each
 *       connection of the guest. Who listens ends his direction, and then the other ends, once
 *       nobody listens
 *   <li>{@code accept TOKEN}: 0, by which it is no more its listener's; then as with connect
 *   <li>{@code machines}: how many there are, of all processes
 * </ul>
 */
public final class MachineHost {
  // Of Winsock
  private static final int WSAEINVAL = 10022;
  private static final int WSAEADDRINUSE = 10048;
  private static final int WSAETIMEDOUT = 10060;
  private static final int WSAECONNREFUSED = 10061;

  private static final int MAXIMUM_LINE = 4096;
  private static final int CHUNK = 64 * 1024;

  private final Path init;
  private final long tscKilohertz;
  private final Map<String, QemuMachine> machines = new ConcurrentHashMap<>();
  private final Map<String, Set<Path>> granted = new ConcurrentHashMap<>();
  private final Map<String, GuestConnection> incoming = new ConcurrentHashMap<>();

  private MachineHost(Path init, long tscKilohertz) {
    this.init = init;
    this.tscKilohertz = tscKilohertz;
  }

  /**
   * @param arguments the directory src/test/c/guest
   */
  public static void main(String... arguments) throws IOException {
    Path directory = Files.createTempDirectory("machine-host");
    for (String program : new String[] {"vmbus-init", "tsc-khz"}) {
      String source = Path.of(arguments[0]).resolve(program + ".c").toString();
      Tool.run(directory, "gcc", "-static", "-O1", "-Wall", "-Werror", "-o", program, source);
    }
    long tscKilohertz = Long.parseLong(Tool.run(directory, "./tsc-khz").strip());
    MachineHost host = new MachineHost(directory.resolve("vmbus-init"), tscKilohertz);
    ServerSocket server = new ServerSocket(0, 128, InetAddress.getLoopbackAddress());
    start(() -> host.serve(server), "accept");
    System.out.println(server.getLocalPort());
    while (System.in.read() >= 0) {
      // What it says is of no interest.
    }
    host.machines.values().forEach(QemuMachine::terminate);
    host.machines.values().forEach(machine -> machine.end().join());
    Tool.run(directory.getParent(), "rm", "-r", directory.toString());
    System.exit(0);
  }

  private static Thread start(Runnable task, String name) {
    Thread thread = new Thread(task, name);
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  private void serve(ServerSocket server) {
    while (true) {
      try {
        Socket socket = server.accept();
        socket.setTcpNoDelay(true);
        start(() -> serve(socket), "connection");
      } catch (IOException e) {
        e.printStackTrace();
      }
    }
  }

  private void serve(Socket socket) {
    try (socket) {
      String[] words = readLine(socket.getInputStream()).split(" ");
      switch (words[0]) {
        case "control" -> new Control(socket).serve();
        case "console" -> console(socket, machine(words[1]));
        case "connect" -> connect(socket, words[1], port(words[2]));
        case "listen" -> listen(socket, words[1], port(words[2]));
        case "accept" -> accept(socket, words[1]);
        case "machines" -> write(socket.getOutputStream(), machines.size() + "\n");
        default -> throw new IOException("what is " + words[0]);
      }
    } catch (EOFException e) {
      // Its client has gone.
    } catch (IOException | ServiceError | RuntimeException e) {
      e.printStackTrace();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static int port(String word) {
    return Integer.parseUnsignedInt(word);
  }

  private static String readLine(InputStream in) throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    for (int b = in.read(); b != '\n'; b = in.read()) {
      if (b < 0 || line.size() == MAXIMUM_LINE) {
        throw new EOFException();
      }
      line.write(b);
    }
    return line.toString(UTF_8);
  }

  private static void write(OutputStream out, String text) throws IOException {
    out.write(text.getBytes(UTF_8));
    out.flush();
  }

  private QemuMachine machine(String id) throws ServiceError {
    QemuMachine machine = machines.get(id);
    if (machine == null) {
      throw new ServiceError(HResult.HCS_E_SYSTEM_NOT_FOUND, "there is no " + id);
    }
    return machine;
  }

  // ---- requests

  /** One process's. */
  private final class Control {
    private final InputStream in;
    private final OutputStream out;
    private final Map<String, QemuMachine> mine = new ConcurrentHashMap<>();

    Control(Socket socket) throws IOException {
      in = socket.getInputStream();
      out = socket.getOutputStream();
    }

    void serve() throws IOException {
      try {
        while (true) {
          String[] words = readLine(in).split(" ");
          byte[] body = words.length > 2 ? in.readNBytes(Integer.parseInt(words[2])) : new byte[0];
          try {
            obey(words[0], words[1], new String(body, UTF_8));
            send("ok", "");
          } catch (ServiceError e) {
            send(String.format("fail %08x", e.result().code()), e.document());
          } catch (IOException | RuntimeException e) {
            e.printStackTrace();
            ServiceError error = new ServiceError(HResult.HCS_E_PROTOCOL_ERROR, e.toString());
            send(String.format("fail %08x", error.result().code()), error.document());
          }
        }
      } finally {
        mine.values().forEach(QemuMachine::terminate);
      }
    }

    private synchronized void send(String line, String document) throws IOException {
      byte[] bytes = document.getBytes(UTF_8);
      write(out, bytes.length == 0 ? line + "\n" : line + " " + bytes.length + "\n" + document);
    }

    private void obey(String request, String id, String body) throws IOException, ServiceError {
      switch (request) {
        case "create" -> create(id, body);
        case "grant" -> {
          Path path = Path.of(body);
          if (!Files.exists(path)) {
            throw new ServiceError(HResult.ERROR_FILE_NOT_FOUND, path + " is not there");
          }
          granted.computeIfAbsent(id, any -> ConcurrentHashMap.newKeySet()).add(path);
        }
        case "revoke" -> granted.getOrDefault(id, Set.of()).remove(Path.of(body));
        case "start" -> begin(machine(id), id);
        case "terminate" -> {
          QemuMachine machine = machine(id);
          if (machine.end().isDone()) {
            throw new ServiceError(HResult.HCS_E_SYSTEM_ALREADY_STOPPED, "it has ended");
          }
          machine.terminate();
        }
        case "pause" -> machine(id).suspend(true);
        case "resume" -> machine(id).suspend(false);
        case "close" -> {
          QemuMachine closed = mine.remove(id);
          if (closed != null) {
            closed.terminate();
          }
        }
        default -> throw new IOException("what is " + request);
      }
    }

    private void create(String id, String document) throws IOException, ServiceError {
      if (!UUID.fromString(id).toString().equals(id)) {
        throw new ServiceError(HResult.HCS_E_INVALID_JSON, "no GUID in lower case: " + id);
      }
      QemuMachine machine = new QemuMachine(Configuration.parse(document));
      mine.put(id, machine);
      machines.put(id, machine);
      var unused = machine.end().thenAccept(end -> ended(id, machine, end));
    }

    private void begin(QemuMachine machine, String id) throws IOException, ServiceError {
      for (Configuration.Disk disk : machine.configuration().disks()) {
        if (!granted.getOrDefault(id, Set.of()).contains(disk.file())) {
          throw new ServiceError(HResult.E_ACCESSDENIED, "the machine may not have " + disk.file());
        }
      }
      machine.start(init, tscKilohertz);
    }

    private void ended(String id, QemuMachine machine, QemuMachine.End end) {
      machines.remove(id);
      boolean panicked = end == QemuMachine.End.RESET && machine.hasPanicked();
      String type =
          switch (end) {
            case POWER_OFF -> "GracefulExit";
            // What a reset is without a panic, with StopOnReset, is documented nowhere.
            case RESET -> panicked ? "UnexpectedExit" : "GracefulExit";
            case TERMINATED -> "ForcedExit";
            case FAILED -> "UnexpectedExit";
          };
      int status = end == QemuMachine.End.FAILED ? HResult.HCS_E_UNEXPECTED_EXIT.code() : 0;
      try {
        if (panicked) {
          send("event crash " + id, "{\"CrashLog\":\"Kernel panic\"}");
        }
        send("event exited " + id, "{\"Status\":" + status + ",\"ExitType\":\"" + type + "\"}");
      } catch (IOException e) {
        // Nobody is there whom to tell.
      }
      try {
        machine.close();
      } catch (IOException e) {
        e.printStackTrace();
      }
    }
  }

  // ---- what guests say

  private static void console(Socket socket, QemuMachine machine) throws IOException {
    OutputStream out = socket.getOutputStream();
    write(out, machine.configuration().console() + "\n");
    machine.console().copyTo(out);
  }

  private void connect(Socket socket, String id, int port) throws IOException {
    QemuMachine machine = machines.get(id);
    if (machine == null) {
      write(socket.getOutputStream(), WSAECONNREFUSED + "\n");
      return;
    }
    CompletableFuture<GuestConnection> connecting = machine.sockets().connect(port);
    // Whose client goes while it waits is given up.
    CompletableFuture<BlockingConnection> connected = new CompletableFuture<>();
    Thread sender = start(() -> send(socket, connected, connecting), "to guest");
    GuestConnection guest;
    try {
      guest = connecting.join();
    } catch (CompletionException e) {
      connected.completeExceptionally(e);
      int error = e.getCause() instanceof ConnectException ? WSAECONNREFUSED : WSAETIMEDOUT;
      write(socket.getOutputStream(), error + "\n");
      return;
    } catch (java.util.concurrent.CancellationException e) {
      connected.completeExceptionally(e);
      return;
    }
    write(socket.getOutputStream(), "0\n");
    BlockingConnection connection = new BlockingConnection(guest);
    connected.complete(connection);
    relay(socket, connection, sender);
  }

  private void accept(Socket socket, String token) throws IOException {
    GuestConnection guest = incoming.remove(token);
    if (guest == null) {
      reset(socket);
      return;
    }
    write(socket.getOutputStream(), "0\n");
    BlockingConnection connection = new BlockingConnection(guest);
    CompletableFuture<BlockingConnection> connected = CompletableFuture.completedFuture(connection);
    Thread sender =
        start(() -> send(socket, connected, CompletableFuture.completedFuture(guest)), "to guest");
    relay(socket, connection, sender);
  }

  /** The direction to the host, and the end of both. */
  private static void relay(Socket socket, BlockingConnection guest, Thread sender)
      throws IOException {
    try (guest) {
      OutputStream out = socket.getOutputStream();
      ByteBuffer buffer = ByteBuffer.allocate(CHUNK);
      while (guest.read(buffer.clear()) >= 0) {
        out.write(buffer.array(), 0, buffer.position());
      }
      socket.shutdownOutput();
      sender.join();
    } catch (IOException e) {
      reset(socket);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The direction to the guest. */
  private static void send(
      Socket socket,
      CompletableFuture<BlockingConnection> connected,
      CompletableFuture<GuestConnection> connecting) {
    try {
      InputStream in = socket.getInputStream();
      byte[] buffer = new byte[CHUNK];
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        connected.join().write(Arrays.copyOf(buffer, n));
      }
      if (!connecting.cancel(false)) {
        connected.join().connection().shutdownOutput();
      }
    } catch (IOException e) {
      boolean ignored = connecting.cancel(false);
      reset(socket);
      connected.thenAccept(BlockingConnection::close);
    } catch (CompletionException e) {
      // It was not connected.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The other side gets a reset. */
  private static void reset(Socket socket) {
    try {
      socket.setSoLinger(true, 0);
      socket.close();
    } catch (IOException e) {
      // It is closed.
    }
  }

  private void listen(Socket socket, String id, int port) throws IOException, InterruptedException {
    OutputStream out = socket.getOutputStream();
    QemuMachine machine = machines.get(id);
    Set<String> tokens = ConcurrentHashMap.newKeySet();
    VirtualMachine.Listener listener;
    synchronized (tokens) { // for what comes at once to come behind the answer
      if (machine == null) {
        write(out, WSAEINVAL + "\n");
        return;
      }
      try {
        listener = machine.sockets().listen(port, guest -> announce(guest, tokens, out));
      } catch (IllegalStateException e) {
        write(out, WSAEADDRINUSE + "\n");
        return;
      }
      write(out, "0\n");
    }
    try {
      while (socket.getInputStream().read() >= 0) {
        // Nothing is said there.
      }
    } finally {
      listener.close();
      for (String token : tokens) {
        GuestConnection left = incoming.remove(token);
        if (left != null) {
          left.close();
        }
      }
    }
  }

  private void announce(GuestConnection guest, Set<String> tokens, OutputStream out) {
    String token = UUID.randomUUID().toString();
    tokens.add(token);
    incoming.put(token, guest);
    synchronized (tokens) {
      try {
        write(out, "incoming " + token + " " + Integer.toUnsignedString(guest.guestPort()) + "\n");
      } catch (IOException e) {
        guest.close();
      }
    }
  }
}
