// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.container.ContainerSpec;
import dev.nacelle.proto.agent.v1.RootFilesystem;
import dev.nacelle.proto.agent.v1.RootFilesystem.DiskCase;
import dev.nacelle.proto.agent.v1.RootFilesystem.ScratchCase;
import dev.nacelle.spi.GuestDisk;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class WorkloadTest {
  private static final GuestDisk IMAGE = new GuestDisk.VirtioSerial("rootfs");
  private static final String CONTROLLER = "df6d0690-79e5-55b6-a5ec-c1e2f77f580a";

  private static RootFilesystem root(GuestDisk image, @Nullable GuestDisk scratch) {
    Workload workload =
        new Workload(
            image, scratch, 0, 0, "box", 0, Map.of(), ContainerSpec.DEFAULT, List.of(), null);
    return workload.toRequest(0, new byte[0]).getRoot();
  }

  private static GuestDisk scsi(int lun) {
    return new GuestDisk.Scsi(UUID.fromString(CONTROLLER.toUpperCase(Locale.ROOT)), lun);
  }

  @Test
  void aVirtioDiskIsNamedByItsSerialNumberAsBeforeThereWereOthers() {
    RootFilesystem root = root(IMAGE, new GuestDisk.VirtioSerial("scratch"));
    assertEquals("rootfs", root.getDiskSerial());
    assertEquals("scratch", root.getScratchSerial());
  }

  @Test
  void aScsiDiskIsNamedByItsControllerAsTheKernelWritesItAndItsUnit() {
    RootFilesystem root = root(scsi(0), scsi(255));
    assertEquals(CONTROLLER, root.getDiskScsi().getController());
    assertEquals(0, root.getDiskScsi().getLun());
    assertEquals(CONTROLLER, root.getScratchScsi().getController());
    assertEquals(255, root.getScratchScsi().getLun());
  }

  @Test
  void aLayerInMemoryHasNoDisk() {
    RootFilesystem root = root(IMAGE, null);
    assertEquals(DiskCase.DISK_SERIAL, root.getDiskCase());
    assertEquals(ScratchCase.SCRATCH_NOT_SET, root.getScratchCase());
  }

  @Test
  void aUnitIsOneOfThoseThatADriverHas() {
    assertThrows(IllegalArgumentException.class, () -> scsi(-1));
    assertThrows(IllegalArgumentException.class, () -> scsi(256));
  }
}
