// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.Tool;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Arrays;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Disks to write to, as e2fsck and the kernel of this machine see them. */
class ScratchFilesystemTest {
  private static final UUID ID = UUID.fromString("6e616365-6c6c-4500-8000-000000000002");
  private static final long GROUP = 128L << 20;

  @TempDir Path temp;

  private Path make(long bytes) throws IOException {
    Path disk = temp.resolve("disk");
    try (Ext4Writer writer = Ext4Writer.create(disk, Ext4Options.scratch(ID, bytes))) {
      writer.finish();
    }
    return disk;
  }

  /** Bytes that the file takes on this machine's file system. */
  private static long allocated(Path file) {
    String blocks = Tool.run(file.getParent(), "stat", "-c", "%b", file.toString()).strip();
    return Long.parseLong(blocks) * 512;
  }

  @ParameterizedTest
  @ValueSource(
      longs = {
        8L << 20,
        (8L << 20) + 1,
        (9L << 20) - 1,
        GROUP - 4096,
        GROUP,
        GROUP + 4096,
        GROUP + 3 * 4096,
        2 * GROUP + 12_345_678,
        16 * GROUP + 1,
        (5L << 30) + 777_777,
      })
  void aDiskOfAnySizeIsCleanBeforeAndAfterTheKernelWroteToIt(long bytes) throws IOException {
    Path disk = make(bytes);

    assertTrue(Files.size(disk) <= bytes, "bytes: " + Files.size(disk));
    assertTrue(Files.size(disk) > bytes - 4096 * 4, "bytes: " + Files.size(disk));
    MountedImage.check(disk);
    try (MountedImage mounted = MountedImage.mount(disk, "rw")) {
      Tool.script(
          mounted.root(),
          "mkdir -p a/b/c; for i in {1..300}; do echo $i > a/file-$i; done; rm a/file-?5;"
              + " dd if=/dev/zero of=a/big bs=64K count=20; setfattr -n user.x -v y a/big; sync");
    }
    MountedImage.check(disk);
  }

  @Test
  void aLargeDiskTakesNextToNothingOfTheHost() throws IOException {
    Path disk = make(100L << 30);

    assertEquals(100L << 30, Files.size(disk));
    assertTrue(allocated(disk) < 1 << 20, "bytes: " + allocated(disk));
    MountedImage.check(disk);
    try (MountedImage mounted = MountedImage.mount(disk, "rw")) {
      Tool.script(mounted.root(), "dd if=/dev/zero of=f bs=1M count=10; mkdir d; sync");
      String free = Tool.run(temp, "stat", "-f", "-c", "%f %S %c", mounted.root().toString());
      String[] numbers = free.strip().split(" ");
      assertTrue(Long.parseLong(numbers[0]) * 4096 > 97L << 30, free);
      assertEquals((100L << 30) / 16384, Long.parseLong(numbers[2]), free);
    }
    // Nor did the kernel initialise the groups that it did not use.
    assertTrue(allocated(disk) < 14 << 20, "bytes: " + allocated(disk));
    MountedImage.check(disk);
  }

  @Test
  void aFullDiskStaysClean() throws IOException {
    Path disk = make(2 * GROUP);

    try (MountedImage mounted = MountedImage.mount(disk, "rw")) {
      String end =
          Tool.script(
              mounted.root(),
              "dd if=/dev/zero of=fill bs=1M 2>&1 || true; n=0;"
                  + " while mkdir d$((n++)) 2>/dev/null; do :; done");
      assertTrue(end.contains("No space left on device"), end);
      assertTrue(Files.size(mounted.root().resolve("fill")) > 240L << 20);
    }
    MountedImage.check(disk);
  }

  @Test
  void aDiskMayHoldSomethingFromTheStart() throws IOException {
    Path disk = temp.resolve("disk");
    try (Ext4Writer writer = Ext4Writer.create(disk, Ext4Options.scratch(ID, 3 * GROUP))) {
      InodeAttributes attributes = new InodeAttributes(0700, 5, 6, Instant.EPOCH);
      Directory upper = writer.createDirectory(writer.root(), FileName.of("upper"), attributes);
      byte[] text = "hello".getBytes(UTF_8);
      for (int i = 0; i < 1000; i++) {
        writer.createFile(
            upper, FileName.of("f" + i), attributes, 5, new ByteArrayInputStream(text));
      }
      writer.finish();
    }

    MountedImage.check(disk);
    try (MountedImage mounted = MountedImage.mount(disk, "rw")) {
      assertEquals("hello", Files.readString(mounted.root().resolve("upper/f999")));
      Tool.script(
          mounted.root(), "rm -r upper; mkdir other; dd if=/dev/zero of=other/f bs=1M count=300");
    }
    MountedImage.check(disk);
  }

  @Test
  void aDiskThatIsTooSmallSaysWhatItNeeds() throws IOException {
    Ext4LimitException tooSmall = assertThrows(Ext4LimitException.class, () -> make(1 << 20));

    String message = String.valueOf(tooSmall.getMessage());
    assertTrue(message.contains("1048576 bytes is too small"), message);
    assertTrue(message.endsWith("needs at least 4227072"), message);
    MountedImage.check(make(5 << 20));
  }

  @Test
  void contentThatDoesNotFitIsAnError() throws IOException {
    try (Ext4Writer writer =
        Ext4Writer.create(temp.resolve("disk"), Ext4Options.scratch(ID, 16 << 20))) {
      byte[] content = new byte[20 << 20];
      writer.createFile(
          writer.root(),
          FileName.of("f"),
          new InodeAttributes(0600, 0, 0, Instant.EPOCH),
          content.length,
          new ByteArrayInputStream(content));
      assertThrows(Ext4LimitException.class, writer::finish);
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {16L << 20, GROUP, 3 * GROUP, 9 * GROUP + 4096, 20 * GROUP})
  void aDiskWithAJournalIsWholeAgainAfterItsMachineWasKilled(long bytes) throws IOException {
    Path disk = temp.resolve("disk");
    try (Ext4Writer writer = Ext4Writer.create(disk, Ext4Options.disk(ID, bytes, 5000, true))) {
      InodeAttributes attributes = new InodeAttributes(0600, 0, 0, Instant.EPOCH);
      byte[] content = new byte[1 << 20];
      Arrays.fill(content, (byte) 7);
      writer.createFile(
          writer.root(),
          FileName.of("f"),
          attributes,
          content.length,
          new ByteArrayInputStream(content));
      writer.finish();
    }
    MountedImage.check(disk);
    assertTrue(allocated(disk) < 6 << 20, "bytes: " + allocated(disk));
    assertEquals(Ext4State.CLEAN, Ext4State.of(disk));

    Path killed = temp.resolve("killed");
    try (MountedImage mounted = MountedImage.mount(disk, "rw")) {
      Tool.script(
          mounted.root(), "mkdir d; for i in {1..200}; do echo $i > d/$i; done; rm f; sync");
      Tool.run(temp, "cp", "--sparse=always", disk.toString(), killed.toString());
    }
    MountedImage.check(disk);
    assertEquals(Ext4State.CLEAN, Ext4State.of(disk));
    assertEquals(Ext4State.NEEDS_RECOVERY, Ext4State.of(killed));
    try (MountedImage mounted = MountedImage.mount(killed, "rw")) {
      assertEquals("200\n", Files.readString(mounted.root().resolve("d/200")));
    }
    assertEquals(Ext4State.CLEAN, Ext4State.of(killed));
    MountedImage.check(killed);
  }

  @Test
  void aDiskWithoutAJournalTellsThatItWasInUse() throws IOException {
    Path disk = make(64 << 20);
    assertEquals(Ext4State.CLEAN, Ext4State.of(disk));
    Path killed = temp.resolve("killed");
    try (MountedImage mounted = MountedImage.mount(disk, "rw")) {
      Tool.script(mounted.root(), "echo x > f; sync");
      Tool.run(temp, "cp", "--sparse=always", disk.toString(), killed.toString());
    }
    assertEquals(Ext4State.NEEDS_CHECK, Ext4State.of(killed));
    assertEquals(Ext4State.CLEAN, Ext4State.of(disk));
  }

  @Test
  void whatIsNoFilesystemHasNoState() throws IOException {
    Path file = Files.write(temp.resolve("file"), new byte[1500]);
    assertThrows(Ext4ImageException.class, () -> Ext4State.of(file));
    Files.write(file, new byte[8192]);
    assertThrows(Ext4ImageException.class, () -> Ext4State.of(file));
  }

  @Test
  void blocksOfZerosBecomeHoles() throws IOException {
    Path disk = temp.resolve("disk");
    byte[] content = new byte[(3 << 20) + 5];
    for (int at : new int[] {0, 5000, 300_000, 1 << 20, (3 << 20) + 4}) {
      content[at] = 1;
    }
    try (Ext4Writer writer = Ext4Writer.create(disk, Ext4Options.of(ID))) {
      InodeAttributes attributes = new InodeAttributes(0600, 0, 0, Instant.EPOCH);
      for (int size : new int[] {0, 1, 4096, 4097, 300_001, content.length}) {
        writer.createFileWithHoles(
            writer.root(),
            FileName.of("f" + size),
            attributes,
            size,
            new ByteArrayInputStream(content));
      }
      assertThrows(
          EOFException.class,
          () ->
              writer.createFileWithHoles(
                  writer.root(),
                  FileName.of("short"),
                  attributes,
                  content.length + 1,
                  new ByteArrayInputStream(content)));
      writer.finish();
    }
    MountedImage.check(disk);
    try (MountedImage mounted = MountedImage.mount(disk, "ro")) {
      for (int size : new int[] {0, 1, 4096, 4097, 300_001, content.length}) {
        byte[] read = Files.readAllBytes(mounted.root().resolve("f" + size));
        assertArrayEquals(Arrays.copyOf(content, size), read);
      }
      assertEquals(5 * 4096, allocated(mounted.root().resolve("f" + content.length)));
    }
  }
}
