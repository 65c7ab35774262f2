// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.GuestAgentBinary;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.ContractGuest;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import dev.nacelle.spi.VmSpec.Disk;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Pattern;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The virtio devices under the drivers of unmodified Linux kernels. In the guest runs {@code
 * src/test/rust/peer.rs}, which does what a test tells it over a connection.
 */
@Tag("boot")
@ParameterizedClass(name = "Linux {0}")
@ValueSource(strings = {"6.1", "6.12"})
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
@Timeout(value = 10, unit = TimeUnit.MINUTES)
@SuppressWarnings("NullAway.Init") // all static state is set before each invocation
class LinuxDriversTest {
  private static final int COMMANDS = 9000;
  private static final int READY = 9001;
  private static final int MEBIBYTE = 1 << 20;

  private static Path directory;
  private static KvmHypervisor hypervisor;
  private static ResolvedKernel kernel;
  private static VirtualMachine machine;
  private static String ready;
  private static byte[] data;

  LinuxDriversTest(String series) {
    assertTrue(kernel.version().startsWith(series));
  }

  @BeforeParameterizedClassInvocation
  static void boot(String series) throws Exception {
    directory = Files.createTempDirectory("linux-drivers");
    data = new byte[3 * MEBIBYTE];
    new Random(1).nextBytes(data);
    Files.write(directory.resolve("data"), data);
    Files.write(directory.resolve("scratch"), new byte[4 * MEBIBYTE]);
    Files.write(directory.resolve("doomed"), new byte[4 * MEBIBYTE]);

    kernel = TestKernels.store().resolve(KernelRef.debian(series));
    Path initramfs =
        TestKernels.store().initramfs(kernel, GuestAgentBinary.of(peer()), ContractGuest.drivers());
    hypervisor = new KvmHypervisor(Kvm.open());
    machine =
        hypervisor.create(
            VmSpec.builder(
                    "linux-drivers",
                    VmSpec.Linux.builder(kernel.vmlinux())
                        .initramfs(initramfs)
                        .parameters("panic=-1")
                        .build(),
                    DataSize.mebibytes(256))
                .disks(
                    List.of(
                        Disk.of("data", directory.resolve("data"), true),
                        Disk.of("scratch-0123456789ab", directory.resolve("scratch"), false),
                        Disk.of("doomed", directory.resolve("doomed"), true)))
                .build());
    CompletableFuture<GuestConnection> dialled = new CompletableFuture<>();
    machine.listen(READY, dialled::complete);
    machine.start();
    CompletableFuture.anyOf(dialled, machine.exit()).get(10, TimeUnit.MINUTES);
    assertTrue(dialled.isDone(), () -> machine.exit().join() + "\n" + machine.console().tail());
    try (BlockingSocket socket = new BlockingSocket(dialled.get())) {
      ready = socket.readText();
    }
  }

  /** The guest's program. */
  static byte[] peer() throws IOException {
    try (InputStream in = LinuxDriversTest.class.getResourceAsStream("/peer")) {
      return Objects.requireNonNull(in, "src/test/rust is not built").readAllBytes();
    }
  }

  @AfterParameterizedClassInvocation
  static void close() throws IOException {
    hypervisor.close();
    for (String name : List.of("data", "scratch", "doomed")) {
      Files.deleteIfExists(directory.resolve(name));
    }
    Files.delete(directory);
  }

  private static BlockingSocket command(String command) throws Exception {
    BlockingSocket socket = new BlockingSocket(machine.connect(COMMANDS).get());
    socket.writeLine(command);
    return socket;
  }

  private static byte[] pattern(int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (i * 31 ^ i >> 9);
    }
    return bytes;
  }

  @Test
  @Order(1)
  void theGuestDialsTheHost() {
    assertEquals(kernel.version(), ready.strip());
  }

  // ---- block

  @Test
  @Order(2)
  void readsADisk() throws Exception {
    try (BlockingSocket socket = command("read data 0 " + data.length)) {
      assertArrayEquals(data, socket.readAll());
    }
    try (BlockingSocket socket = command("read data 1000001 12345")) {
      assertArrayEquals(Arrays.copyOfRange(data, 1_000_001, 1_012_346), socket.readAll());
    }
  }

  @Test
  @Order(3)
  void writesADiskAndFlushesIt() throws Exception {
    byte[] written = pattern(MEBIBYTE + 777);
    try (BlockingSocket socket = command("write scratch-0123456789ab 12345")) {
      socket.write(written);
      socket.endOutput();
      assertEquals("written\n", socket.readText());
    }
    byte[] expected = new byte[4 * MEBIBYTE];
    System.arraycopy(written, 0, expected, 12_345, written.length);
    assertArrayEquals(expected, Files.readAllBytes(directory.resolve("scratch")));
  }

  @Test
  @Order(4)
  void doesNotWriteAReadOnlyDisk() throws Exception {
    try (BlockingSocket socket = command("write data 0")) {
      socket.write(pattern(4096));
      socket.endOutput();
      assertEquals("", socket.readText());
    }
    assertArrayEquals(data, Files.readAllBytes(directory.resolve("data")));
  }

  @Test
  @Order(5)
  void reportsAnErrorWhereTheImageWasTruncated() throws Exception {
    try (RandomAccessFile file = new RandomAccessFile(directory.resolve("doomed").toFile(), "rw")) {
      file.setLength(2 * MEBIBYTE);
    }
    try (BlockingSocket socket = command("read doomed " + 3 * MEBIBYTE + " 4096")) {
      assertEquals(0, socket.readAll().length);
    }
    try (BlockingSocket socket = command("read doomed " + MEBIBYTE + " 4096")) {
      assertArrayEquals(new byte[4096], socket.readAll());
    }
  }

  // ---- entropy

  @Test
  @Order(6)
  void givesRandomBytes() throws Exception {
    try (BlockingSocket socket = command("random 20000")) {
      byte[] bytes = socket.readAll();
      assertEquals(20_000, bytes.length);
      BitSet values = new BitSet();
      for (byte b : bytes) {
        values.set(Byte.toUnsignedInt(b));
      }
      assertEquals(256, values.cardinality());
    }
  }

  // ---- sockets

  @Test
  @Order(7)
  void carriesDataToTheGuest() throws Exception {
    try (BlockingSocket socket = command("sink")) {
      socket.write(pattern(4 * MEBIBYTE));
      socket.endOutput();
      assertEquals(4 * MEBIBYTE + " right\n", socket.readText());
    }
  }

  @Test
  @Order(8)
  void carriesDataFromTheGuestWhichEndsItsOutputFirst() throws Exception {
    try (BlockingSocket socket = command("source " + 4 * MEBIBYTE)) {
      assertArrayEquals(pattern(4 * MEBIBYTE), socket.readAll());
      socket.write(new byte[100_000]);
      socket.endOutput();
    }
  }

  @Test
  @Order(9)
  void carriesDataBothWaysAtOnce() throws Exception {
    byte[] sent = pattern(2 * MEBIBYTE);
    try (BlockingSocket socket = command("echo")) {
      CompletableFuture<byte[]> received =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  return socket.readAll();
                } catch (IOException e) {
                  throw new IllegalStateException(e);
                }
              });
      socket.write(sent);
      socket.endOutput();
      assertArrayEquals(sent, received.get());
    }
  }

  @Test
  @Order(10)
  void readsAnAnswerAfterItsOwnEndOfOutput() throws Exception {
    try (BlockingSocket socket = command("echo-after-end")) {
      socket.write(pattern(300_000));
      socket.endOutput();
      assertArrayEquals(pattern(300_000), socket.readAll());
    }
  }

  @Test
  @Order(11)
  void waitsForAGuestThatDoesNotRead() throws Exception {
    byte[] sent = pattern(2 * MEBIBYTE);
    try (BlockingSocket socket = command("sink-later");
        BlockingSocket other = command("echo")) {
      int taken = 0;
      byte[] rest = sent;
      for (int n = socket.writeSome(rest); n > 0; n = socket.writeSome(rest)) {
        taken += n;
        rest = Arrays.copyOfRange(sent, taken, sent.length);
        other.write(new byte[] {1});
        assertArrayEquals(new byte[] {1}, other.readUpTo(1), "others are served meanwhile");
      }
      // Linux' receive buffer is 256 KiB, and what came with the command's line is in the peer's
      // own,
      // of 8 KiB.
      assertTrue(taken <= 256 + 8 << 10, "taken: " + taken);
      try (BlockingSocket go = command("go")) {
        assertEquals("", go.readText());
      }
      socket.write(rest);
      socket.endOutput();
      assertEquals(sent.length + " right\n", socket.readText());
    }
  }

  @Test
  @Order(12)
  void holdsManyConnectionsAtOnce() throws Exception {
    AtomicInteger accepted = new AtomicInteger();
    try (VirtualMachine.Listener listener =
        machine.listen(
            7000,
            connection -> {
              accepted.incrementAndGet();
              connection.setEventListener(() -> echo(connection));
            })) {
      // 1,024 open files are what Linux lets a process have.
      try (BlockingSocket socket = command("connect 7000 1000")) {
        assertEquals("all\n", socket.readText());
      }
      assertEquals(1000, accepted.get());
    }
  }

  private static void echo(GuestConnection connection) {
    ByteBuffer buffer = ByteBuffer.allocate(16);
    try {
      while (connection.read(buffer) > 0) {
        connection.write(buffer.flip());
        buffer.clear();
      }
    } catch (IOException e) {
      connection.close();
    }
  }

  @Test
  @Order(13)
  void refusesAConnectionToAPortThatNobodyListensOn() throws Exception {
    try (BlockingSocket socket = command("connect 7001 1")) {
      assertEquals("", socket.readText());
    }
    ExecutionException refused =
        assertThrows(ExecutionException.class, () -> machine.connect(7002).get());
    assertInstanceOf(IOException.class, refused.getCause());
    assertEquals(
        "connecting to port 7002: the guest refused the connection",
        refused.getCause().getMessage());
  }

  @Test
  @Order(14)
  void noticesThatTheGuestClosed() throws Exception {
    try (BlockingSocket socket = command("leave")) {
      assertEquals("", socket.readText());
      assertThrows(IOException.class, () -> socket.write(pattern(MEBIBYTE)));
    }
  }

  @Test
  @Order(15)
  void tellsTheGuestThatTheHostClosed() throws Exception {
    for (int i = 0; i < 50; i++) {
      try (BlockingSocket socket = command("echo")) {
        socket.write(new byte[1000]);
      }
    }
    // Had the guest's threads not ended with their connections, it would run out of them here.
    try (BlockingSocket socket = command("echo-after-end")) {
      socket.endOutput();
      assertEquals("", socket.readText());
    }
  }

  @Test
  @Order(99)
  void endsItsConnectionsWhenThePowerGoesOff() throws Exception {
    BlockingSocket open = command("echo");
    command("power-off");
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason(), machine.console().tail());
    assertThrows(
        IOException.class,
        () -> {
          while (true) {
            open.write(pattern(1000));
          }
        });
    assertFalse(
        Pattern.compile("BUG|WARNING|Oops|Call Trace").matcher(machine.console().tail()).find(),
        machine.console().tail());
  }
}
