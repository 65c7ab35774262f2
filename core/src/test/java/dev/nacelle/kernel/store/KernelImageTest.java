// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.KernelException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** bzImages as the kernel's build makes them, packed here by the same tools. */
class KernelImageTest {
  /** Repeats itself over more than 8 MiB, so a decoder with a smaller window cannot unpack it. */
  private static final byte[] VMLINUX = vmlinux();

  @TempDir Path directory;

  private static byte[] vmlinux() {
    byte[] random = new byte[300_000];
    new Random(1).nextBytes(random);
    byte[] content = new byte[10 << 20];
    System.arraycopy(random, 0, content, 0, random.length);
    System.arraycopy(random, 0, content, content.length - random.length, random.length);
    return TestElf.kernel("6.12.0").section(".data", content).build();
  }

  private byte[] unpack(byte[] image) throws IOException {
    Path file = Files.write(Files.createTempFile(directory, "vmlinux", ""), image);
    KernelImage.unpack("the kernel", file);
    return Files.readAllBytes(file);
  }

  private String refusal(byte[] image) {
    KernelException e = assertThrows(KernelException.class, () -> unpack(image));
    return e.reason() + ": " + e.getMessage();
  }

  /** The commands are those of the kernel's scripts/Makefile.lib. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "bzip2 -9",
        "lzma -9",
        "xz --check=crc32 --x86 --lzma2=,dict=32MiB",
        "xz --check=crc32 --threads=1 --x86 --lzma2=,dict=128MiB",
        "lz4 -l -9 - -",
        "zstd -19",
        "lzop -9",
        "lzop -1 --crc32",
        "lzop --no-checksum",
      })
  void aKernelIsUnpackedWhateverItWasPackedWith(String command) throws IOException {
    byte[] packed = TestTools.pipe(VMLINUX, command.split(" "));
    assertArrayEquals(VMLINUX, unpack(TestBzImage.of(packed, VMLINUX.length)));
  }

  @Test
  void aKernelPackedWithGzipIsUnpacked() throws IOException {
    byte[] packed = TestTools.pipe(VMLINUX, "gzip", "-n", "-9");
    assertArrayEquals(VMLINUX, unpack(TestBzImage.of(packed, -1)));
  }

  @Test
  void aKernelPackedWithTheLongWindowOfZstdIsUnpacked() throws IOException {
    byte[] packed = TestTools.pipe(VMLINUX, "zstd", "-22", "--ultra");
    assertEquals((byte) (17 << 3), packed[5], "RFC 8878: a window descriptor of 128 MiB");
    assertTrue(packed.length < 400_000, "the second copy of the random part was found");
    assertArrayEquals(VMLINUX, unpack(TestBzImage.of(packed, VMLINUX.length)));
  }

  @Test
  void aKernelThatNeedsALargerWindowIsRefusedForThat() throws IOException {
    byte[] packed = TestTools.pipe(VMLINUX, "zstd", "--ultra", "-22", "--long=28");
    String message = refusal(TestBzImage.of(packed, VMLINUX.length));
    assertTrue(
        message.contains("ZSTD data needs a window of more than the limit of 128 MiB"), message);
  }

  @Test
  void anUncompressedKernelIsTakenAsItIs() throws IOException {
    assertArrayEquals(VMLINUX, unpack(VMLINUX));
  }

  @Test
  void anUnknownCompressionIsRefused() {
    String message = refusal(TestBzImage.of("compressed?".getBytes(StandardCharsets.UTF_8), 100));
    assertTrue(message.contains("starts with 63 6f 6d 70 72 65"), message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"bzip2", "lzma", "xz --check=crc32", "lz4 -l - -", "zstd", "lzop", "gzip -n"})
  void aDamagedPayloadIsRefusedOrUnpacksToTheSizeItClaims(String command) throws IOException {
    byte[] small = TestElf.kernel("6.1.0").build();
    byte[] packed = TestTools.pipe(small, command.split(" "));
    int size = command.startsWith("gzip") ? -1 : small.length;
    for (int i = 0; i < packed.length; i += 3) {
      byte[] damaged = packed.clone();
      damaged[i] ^= 0x55;
      try {
        assertEquals(small.length, unpack(TestBzImage.of(damaged, size)).length);
      } catch (KernelException e) {
        assertTrue(e.getMessage().startsWith("the kernel"), e.getMessage());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"bzip2", "lzma", "xz --check=crc32", "lz4 -l - -", "zstd", "lzop", "gzip -n"})
  void aPayloadWithItsEndMissingIsRefused(String command) throws IOException {
    byte[] small = TestElf.kernel("6.1.0").build();
    byte[] packed = TestTools.pipe(small, command.split(" "));
    for (int length = packed.length / 2; length < packed.length - 8; length += 7) {
      byte[] cut = Arrays.copyOf(packed, length);
      String message = refusal(TestBzImage.of(cut, small.length));
      assertTrue(message.contains("is damaged"), message);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bzip2", "lzma", "xz --check=crc32", "lz4 -l - -", "zstd", "lzop"})
  void aPayloadThatUnpacksToMoreOrLessThanItClaimsIsRefused(String command) throws IOException {
    byte[] small = TestElf.kernel("6.1.0").build();
    byte[] packed = TestTools.pipe(small, command.split(" "));
    for (int claimed : new int[] {small.length - 1, small.length + 1, 1}) {
      String message = refusal(TestBzImage.of(packed, claimed));
      assertTrue(message.contains("data is damaged"), message);
    }
  }

  @Test
  void aGzipPayloadThatGoesOnBehindTheSizeItClaimsIsRefused() throws IOException {
    // Its own trailer is the claim, which gzip checks only at the end of what it unpacks.
    byte[] packed = TestTools.pipe(new byte[64 << 20], "gzip", "-n");
    byte[] claim = TestTools.pipe(new byte[1000], "gzip", "-n");
    System.arraycopy(claim, claim.length - 4, packed, packed.length - 4, 4);
    String message = refusal(TestBzImage.of(packed, -1));
    assertTrue(message.contains("unpacks to more than the 1000 bytes it claims"), message);
  }

  @Test
  void aClaimOfMoreThanAnyKernelHasIsRefused() throws IOException {
    byte[] packed = TestTools.pipe(VMLINUX, "lz4", "-l", "-", "-");
    for (int claimed : new int[] {0, KernelPayload.MAX_UNPACKED + 1, -16}) {
      String message =
          refusal(
              TestBzImage.with(
                  TestBzImage.of(packed, 1), TestBzImage.PAYLOAD + packed.length, claimed));
      assertTrue(message.contains("claims to unpack to"), message);
    }
  }

  @Test
  void anLzoBlockThatTheKernelWouldNotUnpackIsRefusedBeforeThereIsRoomForIt() throws IOException {
    byte[] packed = TestTools.pipe(VMLINUX, "lzop");
    int headerWithoutName = 38;
    ByteBuffer.wrap(packed).putInt(headerWithoutName, (256 << 10) + 1);
    String message = refusal(TestBzImage.of(packed, VMLINUX.length));
    assertTrue(message.contains("unpack to 0x40001, where 0x40000 may follow"), message);
  }

  @Test
  void aZstdPayloadCannotTakeTheDiskByClaimingASize() throws IOException {
    byte[] small = TestElf.kernel("6.1.0").build();
    byte[] packed = TestTools.pipe(small, "zstd");
    String message = refusal(TestBzImage.of(packed, KernelPayload.MAX_UNPACKED));
    assertTrue(message.contains("it unpacks to " + small.length), message);
  }

  @Test
  void aBzImageThatIsCutOffAnywhereIsRefused() throws IOException {
    byte[] small = TestElf.kernel("6.1.0").build();
    byte[] image = TestBzImage.of(TestTools.pipe(small, "lz4", "-l", "-", "-"), small.length);
    for (int length = 0; length < image.length - 15; length++) {
      String message = refusal(Arrays.copyOf(image, length));
      assertTrue(
          message.contains(
              length < 0x206 ? "neither an ELF vmlinux nor a bzImage" : "is truncated"),
          length + ": " + message);
    }
  }

  @Test
  void aHeaderThatPointsOutsideIsRefused() throws IOException {
    byte[] small = TestElf.kernel("6.1.0").build();
    byte[] image = TestBzImage.of(TestTools.pipe(small, "lz4", "-l", "-", "-"), small.length);
    for (int value : new int[] {-1, Integer.MAX_VALUE, Integer.MIN_VALUE, 1 << 20}) {
      for (int field : new int[] {TestBzImage.PAYLOAD_OFFSET, TestBzImage.PAYLOAD_LENGTH}) {
        String message = refusal(TestBzImage.with(image, field, value));
        assertTrue(message.contains("is damaged: its header puts"), message);
      }
    }
    assertTrue(
        refusal(TestBzImage.with(image, TestBzImage.PAYLOAD_LENGTH, 0)).contains("is damaged"));
  }

  @Test
  void kernelsOfBefore64BitAndBefore208AreRefused() throws IOException {
    byte[] image = TestBzImage.of(TestTools.pipe(VMLINUX, "lz4", "-l", "-", "-"), VMLINUX.length);
    String message = refusal(TestBzImage.with(image, TestBzImage.XLOADFLAGS, 0));
    assertTrue(message.contains("is a 32-bit kernel"), message);
    message = refusal(TestBzImage.with(image, TestBzImage.VERSION, 0x0207));
    assertTrue(message.contains("boot protocol 2.07"), message);
  }

  @Test
  void whatPeopleMistakeForAKernelIsNamed() {
    assertForeign("is for arm64", 56, 0x644d5241);
    assertForeign("is for RISC-V", 56, 0x05435352);
    assertForeign("is an EFI application", 0, 0x5a4d);
    assertForeign("is a gzip file", 0, 0x00088b1f);
    assertTrue(
        refusal("!<arch>\ndebian-binary".getBytes(StandardCharsets.US_ASCII))
            .contains("Write deb: instead"));
    assertTrue(refusal(new byte[0]).contains("neither an ELF vmlinux nor a bzImage"));
  }

  private void assertForeign(String expected, int offset, int magic) {
    ByteBuffer image = ByteBuffer.allocate(4096).order(ByteOrder.LITTLE_ENDIAN);
    image.putInt(offset, magic);
    assertTrue(refusal(image.array()).contains(expected), refusal(image.array()));
  }
}
