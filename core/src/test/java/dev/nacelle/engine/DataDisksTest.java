// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static dev.nacelle.Refusals.assertRefused;
import static dev.nacelle.Refusals.assertRefusedFor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataDisk;
import dev.nacelle.DataSize;
import dev.nacelle.ImageException;
import dev.nacelle.ImageException.Reason;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.WritableLayer;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.proto.agent.v1.PrepareRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@ExtendWith(NettyLeaks.class)
class DataDisksTest {
  private static final DataSize SIZE = DataSize.mebibytes(64);

  @TempDir Path temp;
  private Path scratch;
  private Path tree;

  @BeforeEach
  void makeTree() throws IOException {
    scratch = Files.createDirectory(temp.resolve("scratch"));
    tree = Files.createDirectory(temp.resolve("tree"));
    Files.writeString(tree.resolve("file"), "content");
  }

  private static List<Path> files(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.filter(file -> !file.getFileName().toString().startsWith(".")).toList();
    }
  }

  @Test
  void disksAreMadeAttachedInOrderAndHaveNoNamesOnceTheMachineHasThem() throws IOException {
    try (FakeNacelle fake = new FakeNacelle(scratch)) {
      DataDisk kept = fake.nacelle.makeDisk(DataDisk.empty(SIZE), temp.resolve("kept"));
      SandboxSpec spec =
          FakeNacelle.spec()
              .writableLayer(WritableLayer.onDisk(SIZE))
              .dataDisk("/data/./", DataDisk.of(tree).readOnly())
              .dataDisk("/empty", DataDisk.empty(SIZE))
              .dataDisk("//kept/it", kept)
              .build();
      try (Sandbox sandbox = fake.nacelle.start(spec)) {
        var disks = fake.machine().spec().disks();
        assertEquals(
            List.of("rootfs", "scratch", "data-0", "data-1", "data-2"),
            disks.stream().map(disk -> disk.serial()).toList());
        assertEquals(
            List.of(true, false, true, false, false),
            disks.stream().map(disk -> disk.readOnly()).toList());
        assertEquals(temp.resolve("kept"), disks.get(4).image());
        assertEquals(List.of(), files(scratch));
        PrepareRequest prepared = fake.machine().agent().prepared().get(0);
        assertEquals(
            List.of("/data", "/empty", "/kept/it"),
            prepared.getDataDisksList().stream().map(disk -> disk.getDestination()).toList());
        assertEquals(
            List.of(2, 3, 4),
            prepared.getDataDisksList().stream().map(disk -> disk.getScsi().getLun()).toList());
        assertEquals(
            List.of(false, false, true),
            prepared.getDataDisksList().stream().map(disk -> disk.getKept()).toList());
        assertTrue(prepared.getDataDisks(0).getReadOnly());
        assertTrue(sandbox.timeline().part(Stage.IMAGE, "data disks").isPresent());
      }
      assertTrue(Files.exists(temp.resolve("kept")));
    }
  }

  @Test
  void aGuestThatWritesToAKeptDiskIsAskedToEndWhateverItsGraceButNotWhenItIsKilled()
      throws Exception {
    try (FakeNacelle fake = new FakeNacelle(scratch)) {
      DataDisk kept = fake.nacelle.makeDisk(DataDisk.empty(SIZE), temp.resolve("kept"));
      for (DataDisk disk : List.of(kept, kept.readOnly(), DataDisk.empty(SIZE))) {
        fake.nacelle.start(FakeNacelle.spec().dataDisk("/d", disk).build()).close();
        assertEquals(disk.equals(kept), fake.machine().askedToShutDown().isDone());
      }
      try (Sandbox sandbox = fake.nacelle.start(FakeNacelle.spec().dataDisk("/d", kept).build())) {
        sandbox.kill();
        sandbox.onExit().join();
        assertFalse(fake.machine().askedToShutDown().isDone());
      }
    }
  }

  @EnumSource(
      value = Fault.class,
      names = {"CREATE_FAILS", "START_FAILS", "PANICS_BEFORE_DIALLING", "REFUSES_TO_PREPARE"})
  @ParameterizedTest
  void aStartThatFailsLeavesNoDisk(Fault fault) throws IOException {
    try (FakeNacelle fake = new FakeNacelle(scratch, fault)) {
      fake.hypervisor.needDiskNames();
      SandboxSpec spec = FakeNacelle.spec().dataDisk("/data", DataDisk.of(tree)).build();
      assertThrows(RuntimeException.class, () -> fake.nacelle.start(spec));
      assertEquals(List.of(), files(scratch));
    }
  }

  @Test
  void disksWhoseNamesAreNeededHaveThemUntilTheMachineIsClosed() throws IOException {
    try (FakeNacelle fake = new FakeNacelle(scratch)) {
      fake.hypervisor.needDiskNames();
      SandboxSpec spec = FakeNacelle.spec().dataDisk("/data", DataDisk.of(tree)).build();
      try (Sandbox sandbox = fake.nacelle.start(spec)) {
        assertEquals(List.of(fake.machine().spec().disks().get(1).image()), files(scratch));
        assertTrue(sandbox.isAlive());
      }
      assertEquals(List.of(), files(scratch));
      assertEquals(List.of(), fake.hypervisor.namesMissed());
    }
  }

  @Test
  void aDirectoryThatCannotBeCopiedFailsTheStartByName() throws IOException {
    try (FakeNacelle fake = new FakeNacelle(scratch)) {
      Path none = temp.resolve("none");
      SandboxSpec spec =
          FakeNacelle.spec()
              .dataDisk("/first", DataDisk.empty(SIZE))
              .dataDisk("/data", DataDisk.of(none))
              .build();
      ImageException e = assertThrows(ImageException.class, () -> fake.nacelle.start(spec));
      assertEquals(Reason.NOT_FOUND, e.reason());
      assertTrue(e.getMessage().contains(none.toString()), e::getMessage);
      assertEquals(List.of(), files(scratch));
    }
  }

  @Test
  void aStartThatIsGivenUpStopsTheCopy() throws Exception {
    Files.write(tree.resolve("large"), new byte[4 << 20]);
    CountDownLatch began = new CountDownLatch(1);
    AtomicInteger told = new AtomicInteger();
    try (FakeNacelle fake = new FakeNacelle(scratch)) {
      DataDisk disk =
          DataDisk.of(tree)
              .withListener(
                  progress -> {
                    told.incrementAndGet();
                    began.countDown();
                    while (!Thread.currentThread().isInterrupted()) {
                      Thread.onSpinWait();
                    }
                  });
      CompletableFuture<Sandbox> start =
          fake.nacelle.startAsync(FakeNacelle.spec().dataDisk("/data", disk).build());
      began.await();
      start.cancel(true);
    }
    assertEquals(1, told.get());
    assertEquals(List.of(), files(scratch));
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "Windows has no such permissions nor mounts")
  void anImageIsWholePrivateAndKept() throws IOException {
    Path image = temp.resolve("image");
    try (FakeNacelle fake = new FakeNacelle(scratch)) {
      assertEquals(DataDisk.image(image), fake.nacelle.makeDisk(DataDisk.of(tree), image));
      MountedImage.check(image);
      assertEquals(
          "rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(image)));
      assertEquals(List.of(), files(scratch));
      try (MountedImage mounted = MountedImage.mount(image, "rw")) {
        assertEquals("content", Files.readString(mounted.root().resolve("file")));
      }
      assertTrue(Tool.run(temp, "dumpe2fs", "-h", image.toString()).contains("has_journal"));
      ImageException e =
          assertThrows(ImageException.class, () -> fake.nacelle.makeDisk(DataDisk.of(tree), image));
      assertTrue(e.getMessage().contains(image.toString()), e::getMessage);

      Path readOnly = temp.resolve("read-only");
      DataDisk disk = DataDisk.empty(SIZE).withOwner(7, 8).readOnly();
      assertEquals(DataDisk.image(readOnly).readOnly(), fake.nacelle.makeDisk(disk, readOnly));
      try (MountedImage mounted = MountedImage.mount(readOnly, "ro")) {
        assertEquals("7:8\n", Tool.run(temp, "stat", "-c", "%u:%g", mounted.root().toString()));
      }
      assertRefusedFor(
          "is an image already",
          () -> fake.nacelle.makeDisk(DataDisk.image(image), temp.resolve("other")));
    }
    assertEquals(4, files(temp).size(), () -> temp.toString());
  }

  @Test
  void anImageThatCannotBeMadeLeavesNothing() throws IOException {
    try (FakeNacelle fake = new FakeNacelle(scratch)) {
      DataDisk interrupted =
          DataDisk.of(tree).withListener(progress -> Thread.currentThread().interrupt());
      Files.write(tree.resolve("large"), new byte[4 << 20]);
      assertThrows(
          InterruptedOperationException.class,
          () -> fake.nacelle.makeDisk(interrupted, temp.resolve("image")));
      assertTrue(Thread.interrupted());
      Path nowhere = temp.resolve("none/image");
      ImageException e =
          assertThrows(
              ImageException.class, () -> fake.nacelle.makeDisk(DataDisk.of(tree), nowhere));
      assertEquals(Reason.HOST_DISK, e.reason());
      assertTrue(e.getMessage().contains(nowhere.toString()), e::getMessage);
    }
    assertEquals(2, files(temp).size());
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "there are no mounts")
  void anImageThatCannotBeUsedIsNamedWithTheRemedy() throws IOException {
    Path image = temp.resolve("image");
    Path killed = temp.resolve("killed");
    try (FakeNacelle fake = new FakeNacelle(scratch)) {
      DataDisk disk = fake.nacelle.makeDisk(DataDisk.of(tree), image);
      try (MountedImage mounted = MountedImage.mount(image, "rw")) {
        Tool.script(mounted.root(), "echo x > f; sync");
        Tool.run(temp, "cp", "--sparse=always", image.toString(), killed.toString());
      }
      refused(fake, DataDisk.image(killed).readOnly(), Reason.DAMAGED, "e2fsck -p " + killed);
      fake.nacelle.start(FakeNacelle.spec().dataDisk("/d", DataDisk.image(killed)).build()).close();
      fake.nacelle.start(FakeNacelle.spec().dataDisk("/d", disk.readOnly()).build()).close();

      Path zeros = Files.write(temp.resolve("zeros"), new byte[1 << 20]);
      refused(fake, DataDisk.image(zeros), Reason.UNSUPPORTED, "no image of ext4");
      Path odd = Files.write(temp.resolve("odd"), new byte[5000]);
      refused(fake, DataDisk.image(odd), Reason.UNSUPPORTED, "5000 bytes");
      refused(fake, DataDisk.image(temp.resolve("none")), Reason.NOT_FOUND, "none");
      refused(fake, DataDisk.image(tree), Reason.HOST_DISK, "is a directory");
      refused(fake, DataDisk.image(Path.of("/dev/null")), Reason.HOST_DISK, "a device");
      refused(fake, DataDisk.image(temp.resolve("x.vhdx")), Reason.UNSUPPORTED, "no VHDX");
    }
  }

  private static void refused(FakeNacelle fake, DataDisk disk, Reason reason, String words) {
    SandboxSpec spec = FakeNacelle.spec().dataDisk("/data", disk).build();
    ImageException e = assertThrows(ImageException.class, () -> fake.nacelle.start(spec));
    assertEquals(reason, e.reason(), e::getMessage);
    assertTrue(e.getMessage().contains(words), e::getMessage);
  }

  @Test
  void whatCannotBeIsRefused() {
    SandboxSpec.Builder spec = FakeNacelle.spec();
    DataDisk disk = DataDisk.empty(SIZE);
    for (String path : List.of("/", "//.", "/dev", "/dev/shm/x", "/proc/1", "/./sys/")) {
      assertRefused(
          "a disk cannot be mounted on the root, nor on /dev, /proc and /sys or below: " + path,
          () -> spec.dataDisk(path, disk));
    }
    assertRefusedFor("not an absolute path", () -> spec.dataDisk("data", disk));
    assertRefusedFor("not an absolute path", () -> spec.dataDisk("/a/../b", disk));
    assertRefusedFor("holds a NUL", () -> spec.dataDisk("/a\0", disk));
    assertRefusedFor("more than 4095", () -> spec.dataDisk("/" + "x".repeat(4095), disk));
    for (int i = 0; i < SandboxSpec.MAXIMUM_DATA_DISKS; i++) {
      spec.dataDisk("/device-" + i, disk);
    }
    spec.dataDisk("/device-1/", disk);
    assertRefused("a sandbox may have 12 data disks, not more", () -> spec.dataDisk("/x", disk));
    for (DataSize size :
        List.of(DataSize.bytes(0), DataSize.mebibytes(15), DataSize.gibibytes(16 * 1024 + 1))) {
      assertRefused("a disk has 16MiB to 16TiB, not " + size, () -> DataDisk.empty(size));
    }
    assertRefusedFor("free space", () -> disk.withFreeSpace(SIZE));
    assertRefusedFor("owners", () -> disk.withOwner(-1, 0));
    assertRefusedFor("owners", () -> disk.withOwner(0, 0xffff_ffffL));
    assertRefusedFor("owners", () -> DataDisk.image(tree).withOwner(0, 0));
  }
}
