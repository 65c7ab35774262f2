// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HypervisorException;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Stage;
import dev.nacelle.kvm.MemoryRegion;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LinuxKernelTest {
  private static final int MIB = 1 << 20;
  private static final long ADDRESS = 0x100_0000;
  private static final int FILE_SIZE = 0x3000;
  private static final int MEMORY_SIZE = 0x5000;

  // Offsets in the ELF header and the only program header (System V ABI, chapters 4 and 5).
  private static final int CLASS = 4;
  private static final int TYPE = 16;
  private static final int MACHINE = 18;
  private static final int ENTRY = 24;
  private static final int TABLE = 32;
  private static final int ENTRY_SIZE = 54;
  private static final int COUNT = 56;
  private static final int SEGMENT_OFFSET = 64 + 8;
  private static final int SEGMENT_ADDRESS = 64 + 24;
  private static final int SEGMENT_FILE_SIZE = 64 + 32;
  private static final int SEGMENT_MEMORY_SIZE = 64 + 40;

  private final GuestMemory memory = GuestMemory.allocate(64 * MIB);

  @TempDir Path directory;

  @AfterEach
  void close() {
    memory.close();
  }

  /** An executable of one segment, whose bytes are 1, 2, 3, ... */
  private static ByteBuffer elf() {
    ByteBuffer file = ByteBuffer.allocate(0x1000 + FILE_SIZE).order(ByteOrder.LITTLE_ENDIAN);
    file.put(0, new byte[] {0x7f, 'E', 'L', 'F', 2, 1, 1});
    file.putShort(TYPE, (short) 2).putShort(MACHINE, (short) 62);
    file.putLong(ENTRY, ADDRESS + 0x10).putLong(TABLE, 64);
    file.putShort(ENTRY_SIZE, (short) 56).putShort(COUNT, (short) 1);
    file.putInt(64, 1);
    file.putLong(SEGMENT_OFFSET, 0x1000).putLong(SEGMENT_ADDRESS, ADDRESS);
    file.putLong(SEGMENT_FILE_SIZE, FILE_SIZE).putLong(SEGMENT_MEMORY_SIZE, MEMORY_SIZE);
    for (int i = 0; i < FILE_SIZE; i++) {
      file.put(0x1000 + i, (byte) (i + 1));
    }
    return file;
  }

  private Path kernel(Consumer<ByteBuffer> change) throws IOException {
    ByteBuffer file = elf();
    change.accept(file);
    return Files.write(directory.resolve("vmlinux"), file.array());
  }

  private InitialState load(Path kernel, @Nullable Path initramfs, String parameters) {
    return new LinuxKernel(kernel, initramfs, parameters, MemoryPolicy.SPEED, true)
        .load(memory, new Hardware(1, 1));
  }

  private HypervisorException refusal(Consumer<ByteBuffer> change) throws IOException {
    Path kernel = kernel(change);
    HypervisorException e = assertThrows(HypervisorException.class, () -> load(kernel, null, ""));
    assertEquals(Stage.CREATE, e.stage());
    assertTrue(e.getMessage().contains(kernel.toString()), e::getMessage);
    return e;
  }

  @Test
  void loadsSegmentsAtTheirPhysicalAddresses() throws Exception {
    InitialState state = load(kernel(elf -> {}), null, "");
    byte[] loaded = new byte[MEMORY_SIZE];
    memory.getBytes(ADDRESS, loaded, 0, MEMORY_SIZE);
    byte[] expected = new byte[MEMORY_SIZE];
    System.arraycopy(elf().array(), 0x1000, expected, 0, FILE_SIZE);
    assertArrayEquals(expected, loaded);

    KvmRegs regs = new KvmRegs();
    KvmSregs sregs = new KvmSregs();
    state.apply(regs, sregs);
    assertEquals(ADDRESS + 0x10, regs.get(KvmRegs.RIP));
    assertEquals(0x7000, regs.get(KvmRegs.RSI));
    assertEquals(0x8000_0011L, sregs.get(KvmSregs.CR0));
    assertEquals(0x500, sregs.get(KvmSregs.EFER));
  }

  @Test
  @Timeout(20)
  void refusesWhatIsNoFileWithoutWaitingForIt() throws Exception {
    Path fifo = directory.resolve("fifo");
    assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());
    assertNoFile(() -> load(fifo, null, ""), "kernel: " + fifo);
    Path kernel = kernel(elf -> {});
    assertNoFile(() -> load(kernel, fifo, ""), "initramfs: " + fifo);
  }

  private static void assertNoFile(Executable load, String what) {
    HypervisorException e = assertThrows(HypervisorException.class, load);
    assertEquals(
        "cannot use the "
            + what
            + " is a FIFO, not a regular file. Give the path of a regular file.",
        e.getMessage());
  }

  // A kernel as Linux links it: code, and constants from the next 2 MiB on, in one segment that is
  // not writable; what follows is in the last page of the file's content.
  private static final int CODE_SIZE = 0x3000;
  private static final int WHOLE_SIZE = 5 * MIB + 123;
  private static final int SECTIONS = 0x1000 + WHOLE_SIZE;

  private static ByteBuffer elfWithConstants() {
    ByteBuffer file = ByteBuffer.allocate(SECTIONS + 128).order(ByteOrder.LITTLE_ENDIAN);
    file.put(elf().array(), 0, 0x1000).rewind();
    file.putInt(64 + 4, 5).putLong(SEGMENT_FILE_SIZE, WHOLE_SIZE);
    file.putLong(SEGMENT_MEMORY_SIZE, WHOLE_SIZE);
    file.putLong(40, SECTIONS).putShort(58, (short) 64).putShort(60, (short) 2);
    file.putLong(SECTIONS + 64 + 8, 6).putLong(SECTIONS + 64 + 24, 0x1000);
    file.putLong(SECTIONS + 64 + 32, CODE_SIZE);
    for (int i = 0; i < WHOLE_SIZE; i += 8) {
      file.put(0x1000 + i, (byte) (i * 31 >>> 7));
    }
    return file;
  }

  private static byte[] content(GuestMemory memory) {
    byte[] loaded = new byte[WHOLE_SIZE + 1];
    memory.getBytes(ADDRESS, loaded, 0, loaded.length);
    return loaded;
  }

  @Test
  void guestsShareTheConstantsOfAKernelUntilTheyWriteToThem() throws Exception {
    guestsShare(2 * MIB, MemoryPolicy.SPEED);
  }

  @Test
  void manyGuestsShareAllOfAKernelThatTheyDoNotWriteTo() throws Exception {
    guestsShare(0, MemoryPolicy.DENSITY);
  }

  @Test
  void guestsOfReservedHugePagesShareNothing() throws Exception {
    guestsShare(WHOLE_SIZE, MemoryPolicy.HUGE_PAGES);
  }

  private void guestsShare(int from, MemoryPolicy policy) throws Exception {
    byte[] file = elfWithConstants().array();
    byte[] expected = Arrays.copyOf(Arrays.copyOfRange(file, 0x1000, SECTIONS), WHOLE_SIZE + 1);
    Path kernel = Files.write(directory.resolve("vmlinux"), file);
    LinuxKernel linux = new LinuxKernel(kernel, null, "", policy, true);
    assertEquals(0, pagesOf(kernel));
    linux.load(memory, new Hardware(1, 1));
    assertEquals((WHOLE_SIZE - from) / 4096, pagesOf(kernel), "whole pages");
    assertTrue(MemoryRegion.of(kernel).stream().allMatch(MemoryRegion::isKeptPrivate));
    assertArrayEquals(expected, content(memory));
    try (GuestMemory other = GuestMemory.allocate(64 * MIB)) {
      linux.load(other, new Hardware(1, 1));
      memory.putLong(ADDRESS + 3 * MIB, 42);
      assertEquals(42, memory.getLong(ADDRESS + 3 * MIB));
      assertArrayEquals(expected, content(other));
    }
    assertArrayEquals(file, Files.readAllBytes(kernel));
    Files.delete(kernel);
    assertEquals(expected[4 * MIB], memory.getByte(ADDRESS + 4 * MIB), "deleted, but in use");
  }

  @Test
  void aFileWhoseSegmentsAreNotOnPagesIsRead() throws Exception {
    ByteBuffer file = elfWithConstants();
    file.putLong(SEGMENT_ADDRESS, ADDRESS + 8).putLong(ENTRY, ADDRESS + 8);
    Path kernel = Files.write(directory.resolve("vmlinux"), file.array());
    new LinuxKernel(kernel, null, "", MemoryPolicy.DENSITY, true).load(memory, new Hardware(1, 1));
    assertEquals(0, pagesOf(kernel));
    assertEquals(file.get(0x1000 + 4 * MIB), memory.getByte(ADDRESS + 8 + 4 * MIB));
  }

  /** How many pages of a file this process has mapped. */
  private static long pagesOf(Path file) throws IOException {
    return MemoryRegion.kib(file, "Size") / 4;
  }

  @Test
  void whatSectionsSayNeverChangesWhatIsLoaded() throws Exception {
    byte[] file = elfWithConstants().array();
    byte[] expected = Arrays.copyOf(Arrays.copyOfRange(file, 0x1000, SECTIONS), WHOLE_SIZE + 1);
    long[] values = {0, 1, 0xfff, 0x1000, 0x1001, MIB, 3 * MIB, SECTIONS, 1L << 62, -1, -0x2000};
    for (int field : new int[] {40, SECTIONS + 64 + 24, SECTIONS + 64 + 32}) {
      for (long value : values) {
        byte[] changed = file.clone();
        ByteBuffer.wrap(changed).order(ByteOrder.LITTLE_ENDIAN).putLong(field, value);
        try (GuestMemory other = GuestMemory.allocate(64 * MIB)) {
          Path kernel = Files.write(directory.resolve("vmlinux"), changed);
          new LinuxKernel(kernel, null, "", MemoryPolicy.SPEED, true)
              .load(other, new Hardware(1, 1));
          assertArrayEquals(expected, content(other), field + " is " + value);
        }
      }
    }
  }

  @Test
  void writableSegmentsAndFilesWithoutSectionsAreNotShared() throws Exception {
    for (int[] change : new int[][] {{64 + 4, 7}, {60, 0}}) {
      ByteBuffer file = elfWithConstants();
      file.put(change[0], (byte) change[1]);
      Path kernel = Files.write(directory.resolve("vmlinux" + change[0]), file.array());
      load(kernel, null, "");
      assertEquals(0, pagesOf(kernel));
      assertEquals(file.get(0x1000 + 4 * MIB), memory.getByte(ADDRESS + 4 * MIB));
    }
  }

  @Test
  void mapsTheFirstFourGibibytesOneToOne() throws Exception {
    KvmSregs sregs = new KvmSregs();
    load(kernel(elf -> {}), null, "").apply(new KvmRegs(), sregs);
    for (long address : new long[] {0, 0x100_0000, 0xd000_1234L, 0xffff_ffffL}) {
      long entry = memory.getLong(sregs.get(KvmSregs.CR3)) & -4096;
      entry = memory.getLong(entry + (address >>> 30) * 8) & -4096;
      long page = memory.getLong(entry + (address >>> 21 & 511) * 8);
      assertEquals(0x83, page & 0xfff, "present, writable, large");
      assertEquals(address & -0x20_0000, page & -0x20_0000);
    }
  }

  @Test
  void tellsTheKernelWhereThingsAre() throws Exception {
    byte[] content = new byte[5000];
    Arrays.fill(content, (byte) 9);
    Path initramfs = Files.write(directory.resolve("initramfs"), content);
    load(kernel(elf -> {}), initramfs, " root=/dev/vda  -- arg ");
    assertEquals((short) 0xaa55, memory.getShort(0x7000 + 0x1fe));
    assertEquals(0x5372_6448, memory.getInt(0x7000 + 0x202));
    assertEquals(0xe_0000, memory.getLong(0x7000 + 0x70), "RSDP");

    int address = memory.getInt(0x7000 + 0x218);
    assertEquals(64 * MIB - 8192, address, "at the end, on a page");
    assertEquals(5000, memory.getInt(0x7000 + 0x21c));
    assertEquals(9, memory.getByte(address + 4999));
    assertEquals(0, memory.getByte(address + 5000));

    int length = memory.getInt(0x7000 + 0x238);
    byte[] line = new byte[length + 1];
    memory.getBytes(Integer.toUnsignedLong(memory.getInt(0x7000 + 0x228)), line, 0, length + 1);
    String text = new String(line, 0, length, StandardCharsets.UTF_8);
    assertEquals(0, line[length]);
    assertTrue(text.startsWith("console=ttyS0 "), text);
    assertTrue(text.endsWith(" root=/dev/vda  -- arg"), text);
  }

  @Test
  void describesTheMemory() throws Exception {
    load(kernel(elf -> {}), null, "");
    assertEquals(3, memory.getByte(0x7000 + 0x1e8));
    assertRange(0, 0, 0x9_fc00, 1);
    assertRange(1, 0xe_0000, 0x2_0000, 2);
    assertRange(2, MIB, 63 * MIB, 1);
  }

  @Test
  void describesMemoryAboveTheHole() throws Exception {
    try (GuestMemory big = GuestMemory.allocate(4L << 30)) {
      new LinuxKernel(kernel(elf -> {}), null, "", MemoryPolicy.SPEED, true)
          .load(big, new Hardware(1, 1));
      assertEquals(4, big.getByte(0x7000 + 0x1e8));
      long last = 0x7000 + 0x2d0 + 3 * 20;
      assertEquals(1L << 32, big.getLong(last));
      assertEquals(1L << 30, big.getLong(last + 8));
    }
  }

  private void assertRange(int number, long start, long size, int type) {
    long entry = 0x7000 + 0x2d0 + number * 20L;
    assertEquals(start, memory.getLong(entry));
    assertEquals(size, memory.getLong(entry + 8));
    assertEquals(type, memory.getInt(entry + 16));
  }

  @Test
  void refusesWhatIsNoKernel() throws Exception {
    assertContains(refusal(elf -> elf.put(0, (byte) 'M')), "ELF magic");
    assertContains(refusal(elf -> elf.put(CLASS, (byte) 1)), "not a 64-bit");
    assertContains(refusal(elf -> elf.putShort(MACHINE, (short) 183)), "machine 183");
    assertContains(refusal(elf -> elf.putShort(TYPE, (short) 1)), "type 1");
    assertContains(refusal(elf -> elf.putShort(COUNT, (short) 0)), "0 program headers");
    assertContains(refusal(elf -> elf.putShort(COUNT, (short) -1)), "65535 program headers");
    assertContains(refusal(elf -> elf.putShort(ENTRY_SIZE, (short) 8)), "of 8 bytes");
    assertContains(refusal(elf -> elf.putLong(ENTRY, 0)), "entry point 0x0");
    assertContains(refusal(elf -> elf.putInt(64, 4)), "no loadable segment");
  }

  @Test
  void refusesSegmentsThatDoNotFitTheirFile() throws Exception {
    assertContains(refusal(elf -> elf.putLong(TABLE, Long.MAX_VALUE)), "outside the file");
    assertContains(refusal(elf -> elf.putLong(TABLE, -1)), "outside the file");
    assertContains(refusal(elf -> elf.putLong(TABLE, 0x1000 + FILE_SIZE - 8)), "truncated");
    for (long size : new long[] {FILE_SIZE + 1, Long.MAX_VALUE, -1}) {
      assertContains(refusal(elf -> elf.putLong(SEGMENT_FILE_SIZE, size)), "truncated");
    }
    for (long offset : new long[] {0x1001, Long.MAX_VALUE, -1}) {
      assertContains(refusal(elf -> elf.putLong(SEGMENT_OFFSET, offset)), "truncated");
    }
  }

  @Test
  void refusesSegmentsThatDoNotFitMemory() throws Exception {
    assertContains(refusal(elf -> elf.putLong(SEGMENT_ADDRESS, 0)), "at physical address 0x0");
    assertContains(refusal(elf -> elf.putLong(SEGMENT_ADDRESS, 0xf_f000)), "0xff000");
    assertContains(refusal(elf -> elf.putLong(SEGMENT_MEMORY_SIZE, -1)), "18446744073709551615");
    assertContains(refusal(elf -> elf.putLong(SEGMENT_MEMORY_SIZE, 0x10)), "wants 16 bytes");
    assertContains(
        refusal(elf -> elf.putLong(SEGMENT_MEMORY_SIZE, Long.MAX_VALUE)), "physical address");
  }

  @Test
  void refusesATruncatedFile() throws Exception {
    Path kernel = directory.resolve("vmlinux");
    for (int length : new int[] {0, 3, 63, 64, 100, 0x1000, 0x2000}) {
      Files.write(kernel, Arrays.copyOf(elf().array(), length));
      HypervisorException e = assertThrows(HypervisorException.class, () -> load(kernel, null, ""));
      assertContains(e, "truncated");
    }
  }

  @Test
  void saysHowMuchMemoryIsNeeded() throws Exception {
    Path kernel = kernel(elf -> elf.putLong(SEGMENT_MEMORY_SIZE, 60L * MIB));
    HypervisorException e = assertThrows(HypervisorException.class, () -> load(kernel, null, ""));
    assertEquals(Stage.CREATE, e.stage());
    assertContains(e, "memory of 64 MiB is too small");
    assertEquals("Give the virtual machine at least 92 MiB.", e.remedy().orElseThrow());
  }

  @Test
  void refusesACommandLineThatTheKernelWouldCut() throws Exception {
    Path kernel = kernel(elf -> {});
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> load(kernel, null, "x".repeat(2047)));
    assertContains(e, "and the kernel takes 2047");
    assertContains(e, "the machine's own parameters are " + CommandLine.MACHINE.length());
    load(kernel, null, "x".repeat(VmSpec.Linux.MAX_PARAMETERS));
  }

  @Test
  void saysWhichFileIsMissing() throws Exception {
    Path missing = directory.resolve("missing");
    assertContains(
        assertThrows(HypervisorException.class, () -> load(missing, null, "")),
        "cannot open the kernel: open " + missing + ": ENOENT");
    Path kernel = kernel(elf -> {});
    assertContains(
        assertThrows(HypervisorException.class, () -> load(kernel, missing, "")),
        "cannot open the initramfs: open " + missing + ": ENOENT");
    assertContains(
        assertThrows(HypervisorException.class, () -> load(directory, null, "")),
        "cannot use the kernel: " + directory + " is a directory");
  }

  private static void assertContains(HypervisorException e, String part) {
    assertTrue(e.getMessage().contains(part), e::getMessage);
  }

  @Test
  void needsAPitWhereItHasNoOtherClockOrTimer() {
    assertFalse(needsPit("", true, true));
    assertTrue(needsPit("", false, true), "nothing is known of the kernel");
    assertTrue(needsPit("", true, false), "an old KVM");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "quiet no-kvmclock",
        "no_kvmclock quiet",
        "nopv",
        "nolapic",
        "disableapic",
        "nolapic_timer\tquiet",
        "nolapic-timer",
        "noapictimer",
        "noapictimer=1",
        "lapic=notscdeadline",
        "lapic=notscdeadline lapic=on",
        "clearcpuid=tsc_deadline_timer",
        "acpi=off",
      })
  void needsAPitWhereAParameterTakesItsClockOrTimerAway(String parameters) {
    assertTrue(needsPit(parameters, true, true));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "notsc",
        "tsc=unstable",
        "tsc=reliable",
        "noapic",
        "lapic",
        "lapic=on",
        "acpi=noirq",
        "lapic_timer_c2_ok",
        "apic=debug",
        "nosmp",
        "x.nolapic=1",
        "nolapics"
      })
  void needsNoPitForParametersThatLeaveThemBe(String parameters) {
    assertFalse(needsPit(parameters, true, true));
  }

  private static boolean needsPit(String parameters, boolean known, boolean clockAndTimer) {
    Path file = Path.of("/no/kernel");
    return new LinuxKernel(file, null, parameters, MemoryPolicy.SPEED, known)
        .needsPit(clockAndTimer);
  }
}
