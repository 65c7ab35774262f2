// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.GuestLostException;
import dev.nacelle.spi.VmSpec;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.ConnectException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Machines whose monitor is a shell, and whose sockets' other end, as Firecracker's documentation
 * of vsock has it, is the test's.
 */
@Timeout(120)
class MonitorMachineTest {
  @TempDir Path directory;

  private MonitorHypervisor hypervisor;
  private volatile Path own;

  private record Shell(String script, MonitorMachineTest test) implements Monitor {
    @Override
    public String name() {
      return "shell";
    }

    @Override
    public Path program() {
      return Path.of("/bin/sh");
    }

    @Override
    public List<GuestDriver> drivers() {
      return List.of();
    }

    @Override
    public boolean vhostVsock() {
      return false;
    }

    @Override
    public GuestDisk guestDisk(VmSpec.Disk disk) {
      return new GuestDisk.VirtioSerial(disk.serial());
    }

    @Override
    public List<String> command(VmSpec spec, VmSpec.Linux guest, int cid, Path directory) {
      test.own = directory;
      return List.of("/bin/sh", "-c", script);
    }
  }

  private static VmSpec.Builder spec() {
    return VmSpec.builder(
        "peer", VmSpec.Linux.builder(Path.of("vmlinux")).build(), DataSize.mebibytes(64));
  }

  private MonitorMachine machine(String script) throws IOException {
    hypervisor = new MonitorHypervisor(new Shell(script, this), directory);
    return hypervisor.create(spec().build());
  }

  @BeforeEach
  void noMachineYet() throws IOException {
    hypervisor = new MonitorHypervisor(new Shell("exit 0", this), directory);
  }

  @AfterEach
  void nothingIsLeft() throws IOException {
    hypervisor.close();
    try (Stream<Path> left = Files.list(directory)) {
      assertEquals(List.of(), left.toList());
    }
  }

  /** Reads to the end, as events allow. */
  private static byte[] readAll(GuestConnection connection) throws Exception {
    Semaphore events = new Semaphore(0);
    connection.setEventListener(events::release);
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    ByteBuffer buffer = ByteBuffer.allocate(10_000);
    for (int n = connection.read(buffer); n >= 0; n = connection.read(buffer.clear())) {
      all.write(buffer.array(), 0, n);
      if (n == 0) {
        events.acquire();
      }
    }
    return all.toByteArray();
  }

  @Test
  void consoleIsWhatTheProcessSays() throws Exception {
    MonitorMachine machine = machine("echo from stdout; echo from stderr >&2");
    machine.start();
    VmExit exit = machine.exit().get();
    assertEquals(Reason.POWER_OFF, exit.reason(), exit.toString());
    assertEquals("from stdout\nfrom stderr\n", machine.console().tail());
    assertThrows(IllegalStateException.class, machine::start);
  }

  @Test
  void failureIsTheHosts() throws Exception {
    MonitorMachine machine = machine("exit 3");
    machine.start();
    VmExit exit = machine.exit().get();
    assertEquals(Reason.HOST_ERROR, exit.reason());
    assertTrue(exit.detail().contains("3"), exit.detail());
  }

  @Test
  void closeEndsTheProcess() throws Exception {
    MonitorMachine machine = machine("exec sleep 1000");
    machine.start();
    long pid = hypervisor.process("peer").orElseThrow();
    assertTrue(ProcessHandle.of(pid).isPresent());
    machine.close();
    assertEquals(Reason.CLOSED, machine.exit().get().reason());
    assertFalse(ProcessHandle.of(pid).map(ProcessHandle::isAlive).orElse(false));
    machine.close();
  }

  @Test
  void guestDialsTheHostBothWaysAndToTheEnd() throws Exception {
    MonitorMachine machine = machine("exec sleep 1000");
    BlockingQueue<GuestConnection> accepted = new LinkedBlockingQueue<>();
    machine.listen(1024, accepted::add);
    assertThrows(IllegalStateException.class, () -> machine.listen(1024, accepted::add));
    machine.start();
    byte[] much = new byte[3_000_000];
    new Random(1).nextBytes(much);
    try (SocketChannel guest =
        SocketChannel.open(UnixDomainSocketAddress.of(own.resolve("vsock_1024")))) {
      GuestConnection connection = accepted.take();
      assertEquals(1024, connection.hostPort());
      CompletableFuture<byte[]> echoed =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  return readAll(connection);
                } catch (Exception e) {
                  throw new IllegalStateException(e);
                }
              });
      Channels.newOutputStream(guest).write(much);
      guest.shutdownOutput();
      assertArrayEquals(much, echoed.get());

      CompletableFuture<byte[]> received =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  return Channels.newInputStream(guest).readAllBytes();
                } catch (IOException e) {
                  throw new IllegalStateException(e);
                }
              });
      Semaphore events = new Semaphore(0);
      connection.setEventListener(events::release);
      // From the heap at first, then not.
      for (ByteBuffer left : List.of(ByteBuffer.wrap(much), direct(much))) {
        while (left.hasRemaining()) {
          connection.write(left);
          if (left.hasRemaining()) {
            events.acquire();
          }
        }
      }
      connection.shutdownOutput();
      byte[] all = received.get();
      assertEquals(2 * much.length, all.length);
      assertEquals(ByteBuffer.wrap(much), ByteBuffer.wrap(all, much.length, much.length));
      connection.close();
      assertThrows(IOException.class, () -> connection.read(ByteBuffer.allocate(1)));
    }
  }

  private static ByteBuffer direct(byte[] bytes) {
    return ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
  }

  @Test
  void whoeverReadsFromALostGuestIsTold() throws Exception {
    MonitorMachine machine = machine("read line </dev/null; exec sleep 1000");
    BlockingQueue<GuestConnection> accepted = new LinkedBlockingQueue<>();
    machine.listen(1024, accepted::add);
    machine.start();
    SocketChannel guest = SocketChannel.open(UnixDomainSocketAddress.of(own.resolve("vsock_1024")));
    GuestConnection connection = accepted.take();
    machine.kill();
    machine.exit().get();
    guest.close();
    assertThrows(GuestLostException.class, () -> readAll(connection));
    assertThrows(IllegalStateException.class, () -> machine.listen(1025, accepted::add));
    ExecutionException lost =
        assertThrows(ExecutionException.class, () -> machine.connect(7).get());
    assertInstanceOf(GuestLostException.class, lost.getCause());
  }

  @Test
  void hostConnectsByTheMonitorsWords() throws Exception {
    MonitorMachine machine = machine("exec sleep 1000");
    machine.start();
    try (ServerSocketChannel monitor = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      monitor.bind(UnixDomainSocketAddress.of(own.resolve("vsock")));
      CompletableFuture<GuestConnection> connecting = machine.connect(52);
      SocketChannel peer = monitor.accept();
      assertEquals("CONNECT 52\n", line(peer));
      // What comes with the answer is the guest's.
      peer.write(ByteBuffer.wrap("OK 1073741824\nhello".getBytes(UTF_8)));
      GuestConnection connection = connecting.get();
      assertEquals(52, connection.guestPort());
      peer.shutdownOutput();
      assertEquals("hello", new String(readAll(connection), UTF_8));
      connection.close();
      peer.close();

      CompletableFuture<GuestConnection> refused = machine.connect(53);
      SocketChannel closing = monitor.accept();
      assertEquals("CONNECT 53\n", line(closing));
      closing.close();
      assertInstanceOf(
          ConnectException.class, assertThrows(ExecutionException.class, refused::get).getCause());

      CompletableFuture<GuestConnection> odd = machine.connect(54);
      SocketChannel saysMuch = monitor.accept();
      saysMuch.write(ByteBuffer.wrap("x".repeat(1000).getBytes(UTF_8)));
      assertInstanceOf(
          ConnectException.class, assertThrows(ExecutionException.class, odd::get).getCause());
      saysMuch.close();
    }
    assertThrows(ExecutionException.class, () -> machine.connect(55).get());
  }

  private static String line(SocketChannel from) throws IOException {
    StringBuilder line = new StringBuilder();
    ByteBuffer one = ByteBuffer.allocate(1);
    while (line.indexOf("\n") < 0 && from.read(one.clear()) > 0) {
      line.append((char) one.get(0));
    }
    return line.toString();
  }

  @Test
  void whatAPeerCannotIsRefused() {
    VmSpec quota = spec().cpuQuota(0.5).build();
    HypervisorException error =
        assertThrows(HypervisorException.class, () -> hypervisor.create(quota));
    assertTrue(error.getMessage().contains("shell"), error.getMessage());
    VmSpec bare =
        VmSpec.builder("bare", VmSpec.Bare.of(Path.of("x"), ""), DataSize.mebibytes(1)).build();
    assertThrows(HypervisorException.class, () -> hypervisor.create(bare));
  }

  @Test
  void hypervisorClosesAllMachines() throws Exception {
    MonitorMachine one = machine("exec sleep 1000");
    MonitorMachine other = hypervisor.create(spec().build());
    one.start();
    other.start();
    hypervisor.close();
    assertEquals(Reason.CLOSED, one.exit().get().reason());
    assertEquals(Reason.CLOSED, other.exit().get().reason());
    assertThrows(IllegalStateException.class, () -> hypervisor.create(spec().build()));
  }
}
