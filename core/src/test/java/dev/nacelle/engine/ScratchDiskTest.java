// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.NacelleException;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.WritableLayer;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.internal.OtherProcess;
import dev.nacelle.spi.DiskFormat;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@ExtendWith(NettyLeaks.class)
class ScratchDiskTest {
  private static final DataSize SIZE = DataSize.mebibytes(64);

  @TempDir Path directory;

  private static List<Path> disks(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.filter(file -> !file.getFileName().toString().startsWith(".")).toList();
    }
  }

  /** Makes a disk in another process, and waits to be killed. */
  static final class Maker {
    private Maker() {}

    public static void main(String[] arguments) throws IOException {
      ScratchDisk disk = ScratchDisk.create(Path.of(arguments[0]), SIZE, DiskFormat.RAW);
      System.out.println(disk.file());
      System.in.read();
    }
  }

  @Test
  void aDiskIsAFilesystem() throws IOException {
    try (ScratchDisk disk = ScratchDisk.create(directory.resolve("a/b"), SIZE, DiskFormat.RAW)) {
      assertEquals(SIZE.bytes(), Files.size(disk.file()));
      MountedImage.check(disk.file());
    }
    assertEquals(List.of(), disks(directory.resolve("a/b")));
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "files on Windows have the rights that their directory hands down")
  @Test
  void onlyItsOwnerReadsIt() throws IOException {
    try (ScratchDisk disk = ScratchDisk.create(directory, SIZE, DiskFormat.RAW)) {
      assertEquals(
          PosixFilePermissions.fromString("rw-------"), Files.getPosixFilePermissions(disk.file()));
    }
  }

  @Test
  void whatAKilledProcessLeftIsRemovedByTheNextDiskAndWhatALivingOneHasIsNot() throws Exception {
    try (OtherProcess living = OtherProcess.start(Maker.class, directory);
        OtherProcess killed = OtherProcess.start(Maker.class, directory)) {
      Path kept = Path.of(living.read());
      Path left = Path.of(killed.read());
      killed.kill();
      assertTrue(Files.exists(left));

      ScratchDisk.create(directory, SIZE, DiskFormat.RAW).close();

      assertEquals(List.of(kept), disks(directory));
    }
  }

  @Test
  void aLeftoverThatCannotBeRemovedIsInNobodysWay() throws IOException {
    Files.createDirectories(directory.resolve("scratch-of-another/not-empty"));
    try (ScratchDisk disk = ScratchDisk.create(directory, SIZE, DiskFormat.RAW)) {
      assertTrue(Files.exists(disk.file()));
    }
  }

  @Test
  void aDirectoryThatCannotBeUsedIsNamedWithTheRemedy() throws IOException {
    Path file = Files.createFile(directory.resolve("file"));
    NacelleException e =
        assertThrows(NacelleException.class, () -> ScratchDisk.create(file, SIZE, DiskFormat.RAW));

    assertEquals(Stage.CREATE, e.stage());
    assertTrue(e.getMessage().contains(file.toString()), e::getMessage);
    assertTrue(e.remedy().orElse("").contains("scratchDirectory"), e::getMessage);
  }

  @Test
  void aMachineGetsItsDiskWhichHasNoNameOnceTheMachineIsMade() throws IOException {
    try (FakeNacelle fake = new FakeNacelle(directory);
        Sandbox sandbox =
            fake.nacelle.start(
                FakeNacelle.spec().writableLayer(WritableLayer.onDisk(SIZE)).build())) {
      var disks = fake.machine().spec().disks();
      assertEquals(2, disks.size());
      assertEquals(false, disks.get(1).readOnly());
      assertEquals(directory, disks.get(1).image().getParent());
      assertEquals(List.of(), disks(directory));
      var root = fake.machine().agent().prepared().get(0).getRoot();
      assertEquals(0, root.getDiskScsi().getLun());
      assertEquals(1, root.getScratchScsi().getLun());
      assertEquals(0, root.getWritableBytes());
      assertEquals(WritableLayer.onDisk(SIZE), sandbox.spec().writableLayer());
    }
  }

  @Test
  void aMachineThatCannotBeMadeLeavesNoDisk() throws IOException {
    try (FakeNacelle fake = new FakeNacelle(directory, Fault.CREATE_FAILS)) {
      SandboxSpec spec = FakeNacelle.spec().writableLayer(WritableLayer.onDisk(SIZE)).build();
      assertThrows(NacelleException.class, () -> fake.nacelle.start(spec));
      assertEquals(List.of(), disks(directory));
    }
  }

  @Test
  void aDiskWhoseNameIsNeededHasItUntilTheMachineIsClosed() throws IOException {
    try (FakeNacelle fake = new FakeNacelle(directory)) {
      fake.hypervisor.needDiskNames();
      Path image;
      try (Sandbox sandbox =
          fake.nacelle.start(
              FakeNacelle.spec().writableLayer(WritableLayer.onDisk(SIZE)).build())) {
        image = fake.machine().spec().disks().get(1).image();
        assertEquals(List.of(image), disks(directory));
        // Nor is it taken for a leftover.
        ScratchDisk.create(directory, SIZE, DiskFormat.RAW).close();
        assertEquals(List.of(image), disks(directory));
        assertEquals(List.of(), fake.hypervisor.namesMissed());
      }
      assertEquals(List.of(), fake.hypervisor.namesMissed());
      assertEquals(List.of(), disks(directory));
    }
  }

  @EnumSource(
      value = Fault.class,
      names = {"CREATE_FAILS", "START_FAILS", "PANICS_BEFORE_DIALLING", "REFUSES_TO_PREPARE"})
  @ParameterizedTest
  void aStartThatFailsLeavesNoDiskWhoseNameIsNeeded(Fault fault) throws IOException {
    try (FakeNacelle fake = new FakeNacelle(directory, fault)) {
      fake.hypervisor.needDiskNames();
      SandboxSpec spec = FakeNacelle.spec().writableLayer(WritableLayer.onDisk(SIZE)).build();
      assertThrows(RuntimeException.class, () -> fake.nacelle.start(spec));
      assertEquals(List.of(), disks(directory));
    }
  }

  @Test
  void withoutADiskNothingIsMade() throws IOException {
    Path absent = directory.resolve("absent");
    try (FakeNacelle fake = new FakeNacelle(absent);
        Sandbox sandbox = fake.start()) {
      assertEquals(1, fake.machine().spec().disks().size());
      assertEquals(WritableLayer.inMemory(), sandbox.spec().writableLayer());
    }
    assertTrue(Files.notExists(absent));
  }

  @Test
  void sizesThatCannotBeAreRefused() {
    for (DataSize size :
        List.of(DataSize.bytes(0), DataSize.mebibytes(15), DataSize.gibibytes(16 * 1024 + 1))) {
      assertRefused("a disk has 16MiB to 16TiB, not " + size, () -> WritableLayer.onDisk(size));
    }
    assertRefused("the writable space is zero", () -> WritableLayer.inMemory(DataSize.bytes(0)));
    SandboxSpec.Builder spec = FakeNacelle.spec().memory(DataSize.mebibytes(100));
    spec.writableLayer(WritableLayer.inMemory(DataSize.mebibytes(51)));
    assertRefused(
        "a writable space of 51MiB is more than half of the memory, which is 100MiB: give the"
            + " sandbox more memory, or a disk",
        spec::build);
    spec.writableLayer(WritableLayer.inMemory(DataSize.mebibytes(50))).build();
    spec.writableLayer(WritableLayer.onDisk(DataSize.mebibytes(51))).build();
  }
}
