// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ImageException;
import dev.nacelle.ImageException.Reason;
import dev.nacelle.files.TransferListener;
import dev.nacelle.files.TransferProgress;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Directories as disks, as e2fsck and the kernel of this machine see them; takes root. */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "its trees are made by tools of Linux")
class DirectoryDiskTest {
  private static final long MIB = 1 << 20;

  @TempDir Path temp;
  private Path tree;

  @BeforeEach
  void makeTree() throws IOException {
    tree = Files.createDirectory(temp.resolve("tree"));
  }

  private Path disk(
      DirectoryDisk source, long free, boolean journal, @Nullable TransferListener listener)
      throws IOException {
    Path disk = Files.createTempFile(temp, "disk", "");
    Ext4Options options =
        Ext4Options.disk(UUID.randomUUID(), source.diskBytes(free), source.files(), journal);
    try (Ext4Writer writer = Ext4Writer.create(disk, options)) {
      source.write(writer, new Meter(tree.toString(), Long.MAX_VALUE, listener));
      writer.finish();
    }
    MountedImage.check(disk);
    return disk;
  }

  private ImageException refused() {
    return assertThrows(
        ImageException.class, () -> disk(DirectoryDisk.of(tree, null), 0, false, null));
  }

  @Test
  void everythingButTheHostsOwnIsInTheDisk() throws IOException {
    Tool.script(
        tree,
        """
        mkdir -p usr/bin etc empty 'dir with space' many
        printf 'hello' > etc/motd; printf 'x' > usr/bin/tool
        chown 1000:4294967294 usr/bin/tool; chmod 4755 usr/bin/tool
        chmod 1777 'dir with space'; chown 7:8 .; chmod 0750 .
        ln -s usr/bin bin; ln -s /no/such/file absolute; ln -s . loop
        ln -s "$(printf 'long/%.0s' {1..200})x" 'dir with space/long link'; ln -P loop etc/loop-2
        ln usr/bin/tool ztool; ln usr/bin/tool etc/tool
        touch "$(printf 'u\\303\\274')" "$(printf 'newline\\n\\ttab')" "$(printf 'n%.0s' {1..255})"
        seq 100000 > etc/text; for i in {1..3000}; do echo $i > many/$i-$i-$i-$i-$i; done
        setfattr -n user.comment -v "binary $(printf '\\xff\\x01')" etc/text
        setfattr -n user.large -v "$(printf 'v%.0s' {1..2000})" etc/text
        setfattr -n user.empty empty; setfattr -n user.top -v y .
        truncate -s 30M sparse; printf x | dd of=sparse bs=1 seek=12345678 conv=notrunc status=none
        path=deep; for i in {1..15}; do path=$path/$(printf '%040d' $i); done; mkdir -p $path
        find . -exec touch -h -d '2022-03-04T05:06:07.123456789Z' {} +
        """);
    TreeListing expected = TreeListing.of(tree);
    Tool.script(
        tree,
        "mknod null c 1 3; mknod sda b 8 0; mkfifo fifo; touch -d '2022-03-04T05:06:07.123456789Z' .");
    Tool.run(tree, "python3", "-c", "import socket; socket.socket(socket.AF_UNIX).bind('socket')");
    Tool.script(tree, "touch -d '2022-03-04T05:06:07.123456789Z' .");
    List<TransferProgress> told = new ArrayList<>();

    DirectoryDisk source = DirectoryDisk.of(tree, null);
    Path disk = disk(source, 0, false, told::add);

    try (MountedImage mounted = MountedImage.mount(disk, "ro")) {
      assertEquals("", expected.differences(TreeListing.of(mounted.root())));
      String blocks = Tool.run(mounted.root(), "stat", "-c", "%b", "sparse").strip();
      assertEquals("8", blocks);
    }
    TransferProgress last = told.get(told.size() - 1);
    assertEquals(source.bytes(), last.bytes());
    assertEquals(source.bytes(), last.total().orElseThrow());
    assertEquals(source.files(), last.files());
  }

  @Test
  void thereIsAsMuchRoomAsWasAskedFor() throws IOException {
    Tool.script(tree, "for i in {1..2000}; do echo $i > $i; done; head -c 40M /dev/urandom > big");
    for (boolean journal : new boolean[] {false, true}) {
      Path disk = disk(DirectoryDisk.of(tree, null), 64 * MIB, journal, null);
      try (MountedImage mounted = MountedImage.mount(disk, "rw")) {
        Tool.script(
            mounted.root(),
            "head -c 64M /dev/zero > more; mkdir d; for i in {1..3000}; do : > d/$i; done; sync");
      }
      MountedImage.check(disk);
    }
  }

  @Test
  void filesThatEachTakeAsMuchAsTheyCanHaveRoom() throws IOException {
    // A block of attributes for each; extents that do not fit in the inode; long names.
    Tool.script(
        tree,
        """
        for i in {1..300}; do
          f=$(printf '%0250d' $i); echo x > $f; setfattr -n user.x -v "$(printf "$i%.0s" {1..600})" $f
        done
        for i in {1..100}; do mkdir d$i; echo > d$i/f; done
        python3 -c "
        f = open('holes', 'wb')
        for i in range(4000): f.seek(i * 8192); f.write(b'x')"
        """
            .replace("\n        f", "\nf"));
    Path disk = disk(DirectoryDisk.of(tree, null), 0, false, null);
    try (MountedImage mounted = MountedImage.mount(disk, "ro")) {
      assertEquals("", TreeListing.of(tree).differences(TreeListing.of(mounted.root())));
    }
  }

  @Test
  void theOwnerCanBeAnother() throws IOException {
    Tool.script(tree, "mkdir d; echo x > d/f; ln -s f d/l");
    Path disk =
        disk(DirectoryDisk.of(tree, new DirectoryDisk.Owner(5, 4_000_000_000L)), 0, false, null);
    try (MountedImage mounted = MountedImage.mount(disk, "ro")) {
      String owners = Tool.run(mounted.root(), "find", ".", "-printf", "%U:%G ");
      assertEquals("5:4000000000 ".repeat(4), owners);
    }
  }

  @Test
  void aLinkToADirectoryIsThatDirectoryAndWhatIsNoneIsNamed() throws IOException {
    Files.writeString(tree.resolve("f"), "x");
    Path link = Files.createSymbolicLink(temp.resolve("link"), tree);
    assertEquals(1, DirectoryDisk.of(link, null).bytes());
    for (Path none : List.of(temp.resolve("none"), tree.resolve("f"))) {
      ImageException e = assertThrows(ImageException.class, () -> DirectoryDisk.of(none, null));
      assertEquals(Reason.NOT_FOUND, e.reason());
      assertTrue(e.getMessage().contains(none.toString()), e::getMessage);
    }
  }

  @Test
  void aNameThatIsNotUtf8IsNamedWithTheRemedy() {
    Tool.script(tree, "mkdir d; touch d/\"$(printf 'no-\\377')\"");
    ImageException e = refused();
    assertEquals(Reason.UNSUPPORTED, e.reason());
    assertTrue(e.getMessage().contains(tree + "/d/no-"), e::getMessage);
    assertTrue(e.remedy().orElse("").contains("LC_ALL=C.UTF-8"), e::getMessage);
  }

  @Test
  void moreThanAnyDiskHasIsRefusedBeforeAnythingIsRead() {
    Tool.script(tree, "for i in 1 2 3; do truncate -s 15T f$i; done");
    ImageException e = refused();
    assertEquals(Reason.TOO_LARGE, e.reason());
    assertTrue(e.getMessage().contains(tree.toString()), e::getMessage);
  }

  @Test
  void whatChangesMeanwhileIsNamed() throws IOException {
    Files.write(tree.resolve("a"), new byte[3 << 20]);
    Files.write(tree.resolve("b"), new byte[8192]);
    DirectoryDisk shrinks = DirectoryDisk.of(tree, null);
    ImageException e =
        assertThrows(
            ImageException.class, () -> disk(shrinks, 0, false, told -> cut(tree.resolve("a"))));
    assertEquals(Reason.CHANGING, e.reason());
    assertTrue(e.isTransient() && e.getMessage().contains(tree + "/a"), e::getMessage);

    Files.write(tree.resolve("a"), new byte[3 << 20]);
    DirectoryDisk vanishes = DirectoryDisk.of(tree, null);
    e =
        assertThrows(
            ImageException.class,
            () -> disk(vanishes, 0, false, told -> delete(tree.resolve("b"))));
    assertEquals(Reason.CHANGING, e.reason());
    assertTrue(e.getMessage().contains(tree + "/b"), e::getMessage);
  }

  private static void cut(Path file) {
    Tool.run(file.getParent(), "truncate", "-s", "5", file.toString());
  }

  private static void delete(Path file) {
    Tool.run(file.getParent(), "rm", "-f", file.toString());
  }

  @Test
  void anInterruptEndsIt() throws IOException {
    Files.write(tree.resolve("f"), new byte[5 << 20]);
    DirectoryDisk source = DirectoryDisk.of(tree, null);
    assertThrows(
        ClosedByInterruptException.class,
        () -> disk(source, 0, false, told -> Thread.currentThread().interrupt()));
    assertTrue(Thread.interrupted());
    Thread.currentThread().interrupt();
    assertThrows(ClosedByInterruptException.class, () -> DirectoryDisk.of(tree, null));
    assertTrue(Thread.interrupted());
  }
}
