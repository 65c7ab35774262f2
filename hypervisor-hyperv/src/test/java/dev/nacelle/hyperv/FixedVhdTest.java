// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.nacelle.HypervisorException;
import dev.nacelle.image.testing.Tool;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Disks, which QEMU's reader of VHDs judges. */
class FixedVhdTest {
  private static final long GIB = 1L << 30;

  @TempDir Path temp;

  private Path image(long size) throws IOException {
    Path image = temp.resolve("image.ext4");
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(size);
    }
    return image;
  }

  private Path image(byte[] content) throws IOException {
    return Files.write(temp.resolve("image.ext4"), content);
  }

  private static byte[] random(int size) {
    byte[] bytes = new byte[size];
    new Random(size).nextBytes(bytes);
    return bytes;
  }

  private String qemuImage(String... arguments) {
    List<String> command = new ArrayList<>(List.of("qemu-img"));
    command.addAll(List.of(arguments));
    return Tool.run(temp, command);
  }

  @ParameterizedTest
  @ValueSource(
      longs = {
        4096,
        8192,
        68 << 10,
        1 << 20,
        (100 << 20) + 4096,
        504L << 20,
        2 * GIB + 4096,
        40 * GIB,
        127 * GIB + 4096,
        FixedVhd.MAX_SIZE
      })
  void readersSeeTheRawSize(long size) throws Exception {
    Path image = image(size);
    FixedVhd.append(image);
    assertEquals(size + FixedVhd.FOOTER, Files.size(image));
    JsonNode info =
        new ObjectMapper()
            .readTree(qemuImage("info", "--output=json", "-f", "vpc", image.toString()));
    assertEquals("vpc", info.get("format").textValue());
    assertEquals(size, info.get("virtual-size").longValue());
  }

  @Test
  void contentIsTheRawImages() throws Exception {
    byte[] content = random(3 << 20);
    Path image = image(content);
    Path raw = Files.write(temp.resolve("raw"), content);
    FixedVhd.append(image);
    assertTrue(
        qemuImage("compare", "-s", "-f", "vpc", "-F", "raw", image.toString(), raw.toString())
            .contains("identical"));
    byte[] vhd = Files.readAllBytes(image);
    assertArrayEquals(content, Arrays.copyOf(vhd, content.length));
    assertArrayEquals(
        FixedVhd.footer(content.length, "image.ext4").array(),
        Arrays.copyOfRange(vhd, content.length, vhd.length));
  }

  @Test
  void footerIsThatOfTheSpecification() {
    byte[] footer = FixedVhd.footer(8 << 20, "a").array();
    assertEquals(
        "636f6e6563746978" // cookie
            + "00000002" // features: reserved
            + "00010000" // version
            + "ffffffffffffffff" // no dynamic header
            + "00000000" // 2000-01-01
            + "77696e20" // creator
            + "000a0000"
            + "5769326b"
            + "0000000000800000" // original and current size
            + "0000000000800000"
            + "00f00411" // 240 cylinders, 4 heads, 17 sectors per track
            + "00000002", // fixed
        HexFormat.of().formatHex(footer, 0, 64));
    int sum = 0;
    for (int i = 0; i < footer.length; i++) {
      sum += i >= 64 && i < 68 ? 0 : footer[i] & 0xff;
    }
    assertEquals(HexFormat.of().toHexDigits(~sum), HexFormat.of().formatHex(footer, 64, 68));
    assertArrayEquals(new byte[428], Arrays.copyOfRange(footer, 84, 512));
  }

  @Test
  void footerIsPutOnce() throws Exception {
    Path image = image(random(8192));
    FixedVhd.append(image);
    byte[] first = Files.readAllBytes(image);
    assertTrue(image.toFile().setReadOnly());
    FixedVhd.append(image);
    assertArrayEquals(first, Files.readAllBytes(image));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 84, 511, 512})
  void whatACrashLeftIsWrittenOver(int written) throws Exception {
    byte[] content = random(8192);
    Path image = image(Arrays.copyOf(content, content.length + written));
    FixedVhd.append(image);
    byte[] torn = Files.readAllBytes(image);
    image(content);
    FixedVhd.append(image);
    assertArrayEquals(torn, Files.readAllBytes(image));
  }

  @Test
  void contentThatLooksLikeAFooterIsContent() throws Exception {
    byte[] content = random(8192);
    byte[] lie = FixedVhd.footer(content.length - FixedVhd.FOOTER, "image.ext4").array();
    System.arraycopy(lie, 0, content, content.length - lie.length, lie.length);
    Path image = image(content);
    FixedVhd.append(image);
    assertEquals(content.length + FixedVhd.FOOTER, Files.size(image));
  }

  @Test
  void processesAtOnceDoNoHarm() throws Exception {
    Path image = image(random(1 << 20));
    List<CompletableFuture<Void>> all = new ArrayList<>();
    for (int i = 0; i < 16; i++) {
      all.add(
          CompletableFuture.runAsync(
              () -> {
                try {
                  FixedVhd.append(image);
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              }));
    }
    all.forEach(CompletableFuture::join);
    assertEquals((1 << 20) + FixedVhd.FOOTER, Files.size(image));
    qemuImage("info", "-f", "vpc", image.toString());
  }

  @ParameterizedTest
  @CsvSource({"0", "1", "512", "4095", "5120", "12287"})
  void fileThatIsNoRawImageIsLeftAlone(long size) throws Exception {
    Path image = image(size);
    assertThrows(HypervisorException.class, () -> FixedVhd.append(image));
    assertEquals(size, Files.size(image));
  }

  @Test
  void diskThatIsTooLargeIsRefused() throws Exception {
    Path image = image(FixedVhd.MAX_SIZE + FixedVhd.BLOCK);
    assertThrows(HypervisorException.class, () -> FixedVhd.append(image));
  }

  @Test
  void anotherNameIsTheSameFile() throws Exception {
    Path image = image(random(4096));
    Path name = temp.resolve("m1-0.vhd");
    FixedVhd.link(image, name);
    FixedVhd.append(image);
    assertEquals(4096 + FixedVhd.FOOTER, Files.size(name));
    assertTrue(Files.isSameFile(image, name));
    Files.delete(name);
    assertEquals(4096 + FixedVhd.FOOTER, Files.size(image));
    assertThrows(
        IllegalArgumentException.class, () -> FixedVhd.link(image, temp.resolve("m1-0.img")));
  }
}
