// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorException;
import dev.nacelle.Nacelle;
import dev.nacelle.Pause;
import dev.nacelle.Unikernel;
import dev.nacelle.UnikernelExit;
import dev.nacelle.UnikernelSpec;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.engine.EngineBuilder;
import dev.nacelle.internal.Baseline;
import dev.nacelle.kvm.boot.BareElf;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Guests that are not Linux, by the public API. Any KVM runs them, an emulating one too. */
@Timeout(60)
class UnikernelTest {
  /** Prints the string at ESI, and exits with status 42; the same code in both modes. */
  private static final String PRINT_AND_EXIT =
      "ba f8 03 00 00" // mov $0x3f8, %edx
          + " ac" // 1: lodsb
          + " 84 c0" // test %al, %al
          + " 74 03" // jz 2f
          + " ee" // out %al, (%dx)
          + " eb f8" // jmp 1b
          + " ba f4 00 00 00" // 2: mov $0xf4, %edx
          + " b8 2a 00 00 00" // mov $42, %eax
          + " ef" // out %eax, (%dx)
          + " f4 eb fd"; // 3: hlt; jmp 3b

  @TempDir Path directory;
  private Baseline before;
  private Nacelle nacelle;

  @SuppressWarnings("NullAway.Init") // before each test
  UnikernelTest() {}

  @BeforeEach
  void open() throws IOException {
    // What JNA loads stays.
    Kvm.open().close();
    before = Baseline.now(directory);
    nacelle =
        new EngineBuilder()
            .cacheDirectory(directory.resolve("cache"))
            .hypervisor(new UncheckedKvm())
            .build();
  }

  @AfterEach
  void close() throws Exception {
    nacelle.close();
    before.assertThreadsEnded();
    before.assertFilesAsBefore();
  }

  /** KVM, without the check whether it could boot Linux. */
  private static final class UncheckedKvm implements HypervisorProvider {
    @Override
    public String name() {
      return "kvm";
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
      throw new UnsupportedOperationException();
    }

    @Override
    public Hypervisor open() {
      return new KvmHypervisor(Kvm.open());
    }
  }

  private UnikernelSpec.Builder spec(ByteBuffer image) throws IOException {
    return UnikernelSpec.builder()
        .image(Files.write(directory.resolve("image"), image.array()))
        .memory(DataSize.mebibytes(4));
  }

  private UnikernelExit run(UnikernelSpec.Builder spec) {
    try (Unikernel unikernel = nacelle.startUnikernel(spec.build())) {
      return unikernel.waitFor();
    }
  }

  @Test
  void pvhImagePrintsItsCommandLineAndExitsWithItsStatus() throws Exception {
    ByteArrayOutputStream streamed = new ByteArrayOutputStream();
    UnikernelExit exit =
        run(
            spec(BareElf.pvh("8b 73 18", PRINT_AND_EXIT)) // mov 24(%ebx), %esi
                .commandLine("Hello, PVH!")
                .console(streamed::writeBytes));
    assertEquals(OptionalInt.of(42), exit.status());
    assertEquals(Reason.EXITED, exit.machine().reason());
    assertFalse(exit.timedOut());
    assertEquals("Hello, PVH!", exit.console());
    assertEquals("Hello, PVH!", streamed.toString(StandardCharsets.US_ASCII));
  }

  @Test
  void otherImageDoesTheSameInLongMode() throws Exception {
    UnikernelExit exit =
        run(
            spec(BareElf.longMode("8b b6 28 02 00 00", PRINT_AND_EXIT)) // mov 0x228(%rsi), %esi
                .commandLine("Hello, 64 bits!"));
    assertEquals(OptionalInt.of(42), exit.status());
    assertEquals("Hello, 64 bits!", exit.console());
  }

  @Test
  void statusHasAsManyBytesAsAreWritten() throws Exception {
    String load = "b8 f1 f2 f3 f4"; // mov $0xf4f3f2f1, %eax
    String exit = "e6 f4"; // out %al, $0xf4
    assertEquals(OptionalInt.of(0xf1), run(spec(BareElf.pvh(load, exit))).status());
    exit = "66 e7 f4"; // out %ax, $0xf4
    assertEquals(OptionalInt.of(0xf2f1), run(spec(BareElf.pvh(load, exit))).status());
    exit = "e7 f4"; // out %eax, $0xf4
    UnikernelExit wide = run(spec(BareElf.pvh(load, exit)));
    assertEquals(OptionalInt.of(0xf4f3f2f1), wide.status());
    assertEquals("the guest exited with status 4109628145", wide.machine().detail());
  }

  @Test
  void endsByItsDeadlineWhenItDoesNot() throws Exception {
    UnikernelExit exit =
        run(spec(BareElf.pvh("eb fe")).timeout(Duration.ofMillis(100))); // 1: jmp 1b
    assertTrue(exit.timedOut());
    assertEquals(Reason.CLOSED, exit.machine().reason());
    assertEquals(OptionalInt.empty(), exit.status());
  }

  @Test
  void standsStillWhilePausedAndHasTheRestOfItsTimeThen() throws Exception {
    Duration limit = Duration.ofSeconds(5);
    // mov $0x3f8, %edx; 1: out %al, (%dx); jmp 1b
    ByteBuffer printing = BareElf.pvh("ba f8 03 00 00 ee eb fd");
    try (Unikernel unikernel = nacelle.startUnikernel(spec(printing).timeout(limit).build())) {
      long before;
      try (Pause unused = unikernel.pause()) {
        before = printed(unikernel);
        assertEquals(Optional.empty(), unikernel.waitFor(limit.plusMillis(100)));
        assertEquals(before, printed(unikernel));
      }
      long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
      while (printed(unikernel) == before) {
        assertFalse(unikernel.onExit().isDone(), "ended before it printed again");
        assertTrue(System.nanoTime() - end < 0, "did not print again");
        Thread.sleep(1);
      }
    }
  }

  private static long printed(Unikernel unikernel) {
    return unikernel.statistics().exits().getOrDefault("io:0x3f8:out", 0L);
  }

  @Test
  void crashIsTold() throws Exception {
    UnikernelExit exit = run(spec(BareElf.pvh("0f 0b"))); // ud2, without an IDT
    assertEquals(Reason.CRASHED, exit.machine().reason());
    assertFalse(exit.timedOut());
    assertEquals(OptionalInt.empty(), exit.status());
  }

  @Test
  void closingTheRuntimeEndsThoseThatRun() throws Exception {
    UnikernelSpec spec = spec(BareElf.pvh("f4 eb fd")).name("sleeper").build(); // 1: hlt; jmp 1b
    Unikernel unikernel = nacelle.startUnikernel(spec);
    assertEquals("sleeper", unikernel.name());
    nacelle.close();
    assertEquals(Reason.CLOSED, unikernel.waitFor().machine().reason());
    assertThrows(IllegalStateException.class, () -> nacelle.startUnikernel(spec));
  }

  @Test
  void fileThatIsNoImageIsRefused() throws Exception {
    UnikernelSpec text = spec(ByteBuffer.wrap("#!/bin/sh\n".repeat(10).getBytes())).build();
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> nacelle.startUnikernel(text));
    assertTrue(e.getMessage().contains("ELF magic"), e::getMessage);
  }
}
