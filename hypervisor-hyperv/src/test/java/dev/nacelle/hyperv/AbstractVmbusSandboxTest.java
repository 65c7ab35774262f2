// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.AbstractKernelContractTest;
import dev.nacelle.GuestIOException;
import dev.nacelle.GuestProcess;
import dev.nacelle.GuestSocket;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.engine.EngineBuilder;
import dev.nacelle.spi.ContractGuest;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/**
 * A sandbox's guest on Hyper-V: kernel, drivers and agent, with VMBus from {@link VmbusHypervisor}.
 * Its root and its scratch disk are units of a storvsc controller, its agent dials over hv_sock.
 */
abstract class AbstractVmbusSandboxTest extends AbstractKernelContractTest {
  private static final int PORT = 5000;

  AbstractVmbusSandboxTest(String kernel, int cpus) {
    super(kernel, cpus);
  }

  @Override
  protected Nacelle.Builder builder() {
    return new EngineBuilder().hypervisor(new VmbusHypervisor.Provider());
  }

  /** Its machines tell nothing of it. */
  @Override
  protected boolean hostCountsUse() {
    return false;
  }

  @Test
  void hostConnectsToAProcessThatListens() throws Exception {
    String save = "cat > /tmp/listener && busybox chmod 755 /tmp/listener";
    ProcessSpec copy = ProcessSpec.builder("sh", "-c", save).stdin(ContractGuest.program()).build();
    sandbox().exec(copy).orThrow();
    assertThrows(GuestIOException.class, () -> sandbox().connect(PORT));
    try (GuestProcess listener =
        sandbox().start(ProcessSpec.of("/tmp/listener", "listen", "" + PORT, "echo"))) {
      assertEquals("listening\n", new String(listener.stdout().readNBytes(10), UTF_8));
      byte[] sent = new byte[1 << 20];
      new Random(5).nextBytes(sent);
      try (GuestSocket socket = sandbox().connect(PORT)) {
        CompletableFuture<byte[]> echoed = CompletableFuture.supplyAsync(() -> readAll(socket));
        socket.output().write(sent);
        socket.output().close();
        assertArrayEquals(sent, echoed.get());
      }
      List<GuestSocket> many = new ArrayList<>();
      for (int i = 0; i < 16; i++) {
        many.add(sandbox().connect(PORT));
        many.get(i).output().write(i);
      }
      for (int i = 15; i >= 0; i--) {
        assertEquals(i, many.get(i).input().read());
      }
      listener.close();
      listener.onExit().join();
      for (GuestSocket socket : many) {
        assertEquals(-1, socket.input().read());
        socket.close();
      }
    }
  }

  private static byte[] readAll(GuestSocket socket) {
    try {
      return socket.input().readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
