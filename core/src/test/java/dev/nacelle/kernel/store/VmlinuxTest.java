// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.KernelException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class VmlinuxTest {
  @TempDir Path directory;

  private Vmlinux inspect(byte[] content) throws IOException {
    Path file = directory.resolve("vmlinux");
    Files.write(file, content);
    return Vmlinux.inspect("the kernel", file);
  }

  private String refusal(byte[] content) {
    KernelException e = assertThrows(KernelException.class, () -> inspect(content));
    return e.reason() + ": " + e.getMessage();
  }

  @Test
  void theBannerTellsReleaseAndBuild() throws IOException {
    Vmlinux vmlinux = inspect(TestElf.kernel("6.12.1-test").build());
    assertEquals("6.12.1-test", vmlinux.version());
    assertEquals("#1 SMP PREEMPT_DYNAMIC Test 1 (2026-01-01)", vmlinux.build());
    assertEquals(Optional.empty(), vmlinux.config());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "6.8.0-31-generic (buildd@lcy02-amd64-080) (x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0-23ubuntu4) 13.2.0, GNU ld (GNU Binutils for Ubuntu) 2.42) | #31-Ubuntu SMP PREEMPT_DYNAMIC Sat Apr 20 00:40:06 UTC 2024",
        "6.5.0-1024-azure (buildd@lcy02-amd64-058) (x86_64-linux-gnu-gcc-11 (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0, GNU ld (GNU Binutils for Ubuntu) 2.38) | #25~22.04.1-Ubuntu SMP Thu Jul 11 22:33:04 UTC 2024",
        "6.6.32 (nixbld@localhost) (gcc (GCC) 13.2.0, GNU ld (GNU Binutils) 2.41) | #1-NixOS SMP PREEMPT_DYNAMIC Sat May 25 14:22:56 UTC 2024",
        "6.6.31-0-virt (buildozer@build-3-20-x86_64) (gcc (Alpine 13.2.1_git20240309) 13.2.1 20240309, GNU ld (GNU Binutils) 2.42) | #1-Alpine SMP PREEMPT_DYNAMIC Fri, 17 May 2024 14:33:47 +0000",
        "6.8.5-301.fc40.x86_64 (mockbuild@8dfcf6c09ae3) (gcc (GCC) 14.0.1 20240411 (Red Hat 14.0.1-0), GNU ld version 2.41-34.fc40) | #1 SMP PREEMPT_DYNAMIC Thu Apr 11 20:00:10 UTC 2024",
        "6.1.90-99.173.amzn2023.x86_64 (mockbuild@ip-10-0-38-17) (gcc (GCC) 11.4.1 20230605 (Red Hat 11.4.1-2), GNU ld version 2.39-6.amzn2023.0.10) | #1 SMP PREEMPT_DYNAMIC Tue May  7 15:19:01 UTC 2024",
        "6.9.1-arch1-1 (linux@archlinux) (gcc (GCC) 14.1.1 20240507, GNU ld (GNU Binutils) 2.42.0) | #1 SMP PREEMPT_DYNAMIC Fri, 17 May 2024 16:56:38 +0000",
        "5.15.153.1-microsoft-standard-WSL2 (root@941d701f84f1) (gcc (GCC) 11.2.0, GNU ld (GNU Binutils) 2.37) | #1 SMP Fri Mar 29 23:14:13 UTC 2024",
        "6.1.0-clang (a@b #3) (Debian clang version 14.0.6, Debian LLD 14.0.6) | #7 SMP",
      })
  void theBannersOfDistributionsAreRead(String start, String build) throws IOException {
    byte[] banner = ("Linux version " + start + " " + build + "\n").getBytes(US_ASCII);
    Vmlinux vmlinux =
        inspect(TestElf.of(Elf64.ET_EXEC).segment(0x100_0000, banner, banner.length).build());
    assertEquals(start.substring(0, start.indexOf(' ')), vmlinux.version());
    assertEquals(build, vmlinux.build());
  }

  @Test
  void theBannerIsFoundAcrossTheChunksInWhichTheFileIsRead() throws IOException {
    byte[] banner = TestElf.banner("6.1.0");
    for (int before : new int[] {(1 << 20) - 230, (1 << 20) - 215, (1 << 20) - 200}) {
      byte[] content = new byte[before + banner.length];
      System.arraycopy(banner, 0, content, before, banner.length);
      byte[] kernel =
          TestElf.of(Elf64.ET_EXEC).segment(0x100_0000, content, content.length).build();
      assertEquals("6.1.0", inspect(kernel).version());
    }
  }

  @Test
  void anEmbeddedConfigurationIsRead() throws IOException {
    // A tool's mention of the marker, then the kernel's own.
    byte[] mention = "IKCFG_ST\37\213\10 is looked for\0".getBytes(StandardCharsets.ISO_8859_1);
    byte[] kernel =
        TestElf.kernel("6.1.0")
            .section(".rodata1", mention)
            .section(".config", embedded("CONFIG_VSOCKETS=y\n"))
            .build();
    assertEquals(Optional.of("CONFIG_VSOCKETS=y\n"), inspect(kernel).config());
  }

  private static byte[] embedded(String config) throws IOException {
    ByteArrayOutputStream embedded = new ByteArrayOutputStream();
    embedded.writeBytes("IKCFG_ST".getBytes(US_ASCII));
    try (GZIPOutputStream gzip = new GZIPOutputStream(embedded)) {
      gzip.write(config.getBytes(US_ASCII));
    }
    embedded.writeBytes("IKCFG_ED".getBytes(US_ASCII));
    return embedded.toByteArray();
  }

  @Test
  void afterManyMentionsOfAMarkerItIsNoLongerLookedFor() throws IOException {
    byte[] marker = "IKCFG_ST\37\213\10 Linux version ".getBytes(StandardCharsets.ISO_8859_1);
    byte[] config = embedded("CONFIG_VSOCKETS=y\n");
    for (int mentions : new int[] {15, 16}) {
      ByteBuffer content = ByteBuffer.allocate(mentions * marker.length + config.length);
      for (int i = 0; i < mentions; i++) {
        content.put(marker);
      }
      content.put(config);
      byte[] behind =
          TestElf.of(Elf64.ET_EXEC)
              .segment(0x100_0000, content.array(), content.limit())
              .segment(0x200_0000, TestElf.banner("6.1.0"), 4096)
              .build();
      byte[] before = TestElf.kernel("6.1.0").section(".c", content.array()).build();
      assertEquals(mentions < 16, inspect(before).config().isPresent());
      assertTrue(refusal(behind).contains("is no Linux kernel"));
    }
  }

  @Test
  void aConfigurationWithoutEndIsNotRead() throws IOException {
    ByteArrayOutputStream embedded = new ByteArrayOutputStream();
    embedded.writeBytes("IKCFG_ST".getBytes(US_ASCII));
    try (GZIPOutputStream gzip = new GZIPOutputStream(embedded)) {
      gzip.write(new byte[KernelConfig.MAX_SIZE + 1]);
    }
    byte[] kernel = TestElf.kernel("6.1.0").section(".config", embedded.toByteArray()).build();
    assertEquals(Optional.empty(), inspect(kernel).config());
  }

  @Test
  void aKernelThatIsCutOffAnywhereIsRefused() {
    byte[] kernel = TestElf.kernel("6.1.0").build();
    for (int length = 0; length < kernel.length; length++) {
      String message = refusal(Arrays.copyOf(kernel, length));
      assertTrue(
          message.contains(length < 20 ? "is no ELF file" : "is truncated"),
          length + ": " + message);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "183, 'AArch64 (ELF machine 183), not for x86-64'",
    "243, 'RISC-V (ELF machine 243), not for x86-64'",
    "3, 'i386 (ELF machine 3), not for x86-64'",
    "999, 'another architecture (ELF machine 999), not for x86-64'",
  })
  void anotherArchitectureIsNamed(int machine, String expected) {
    byte[] kernel = TestElf.kernel("6.1.0").build();
    kernel[TestElf.MACHINE_OFFSET] = (byte) machine;
    kernel[TestElf.MACHINE_OFFSET + 1] = (byte) (machine >> 8);
    assertTrue(refusal(kernel).contains(expected), refusal(kernel));
  }

  @Test
  void a32BitOrBigEndianKernelIsRefused() {
    byte[] kernel = TestElf.kernel("6.1.0").build();
    kernel[4] = 1;
    assertTrue(refusal(kernel).contains("32-bit"), refusal(kernel));
    kernel[4] = 2;
    kernel[5] = 2;
    assertTrue(refusal(kernel).contains("big-endian"), refusal(kernel));
  }

  @Test
  void aModuleIsNoKernel() {
    String message = refusal(TestElf.module("name=virtio"));
    assertTrue(message.contains("an object file or a module"), message);
  }

  @Test
  void anExecutableThatIsNotLinuxIsRefused() {
    String message =
        refusal(TestElf.of(Elf64.ET_EXEC).segment(0x100_0000, new byte[64], 64).build());
    assertTrue(message.contains("no \"Linux version ...\""), message);
  }

  @Test
  void segmentsThatOverlapAreRefused() {
    String message = refusal(TestElf.kernel("6.1.0").segment(0x200_1000, new byte[16], 16).build());
    assertTrue(message.contains("overlaps the one before it"), message);
  }

  @Test
  void absurdSegmentsAreRefused() {
    byte[] code = new byte[4096];
    for (TestElf elf :
        new TestElf[] {
          TestElf.kernel("6.1.0").segment(0x400_0000, code, 4095),
          TestElf.kernel("6.1.0").segment(0x400_0000, code, 1L << 31),
          TestElf.kernel("6.1.0").segment(0x400_0000, code, -1),
          TestElf.kernel("6.1.0").segment(-4096, code, 8192),
          TestElf.kernel("6.1.0").segment(1L << 40, code, 4096),
          TestElf.kernel("6.1.0")
              .segment(0x400_0000, code, 1 << 29)
              .segment(0x4000_0000, code, 1 << 29),
        }) {
      String message = refusal(elf.build());
      assertTrue(message.contains("is absurd"), message);
    }
  }

  @Test
  void anEntryPointOutsideIsRefused() {
    String message = refusal(TestElf.kernel("6.1.0").entry(0x300_0000).build());
    assertTrue(message.contains("entry point 0x3000000 is in no segment"), message);
  }

  @Test
  void anElfFileWithNothingToLoadIsRefused() {
    String message = refusal(TestElf.of(Elf64.ET_EXEC).section(".text", new byte[16]).build());
    assertTrue(message.contains("nothing in it is to be loaded"), message);
  }

  @Test
  void aBannerCannotSmuggleControlCharacters() {
    byte[] kernel =
        TestElf.of(Elf64.ET_EXEC)
            .segment(0x100_0000, "Linux version 6.1\33[2J (a) (b) #1 x\n".getBytes(US_ASCII), 64)
            .build();
    assertTrue(refusal(kernel).contains("no \"Linux version ...\""), refusal(kernel));
  }
}
