// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.spi.VmSpec.Disk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** What can be a machine's disk, and who may have it at a time. */
@Timeout(60)
class DiskImagesTest {
  @RegisterExtension final TestMachines machines = new TestMachines();
  @TempDir Path directory;
  private Path image;

  @BeforeEach
  void createImage() throws IOException {
    image = Files.write(directory.resolve("image"), new byte[4096]);
  }

  private KvmVirtualMachine create(Disk... disks) {
    DeviceFactory[] factories = new DeviceFactory[disks.length];
    for (int i = 0; i < disks.length; i++) {
      factories[i] = DeviceFactory.disk(disks[i]);
    }
    return machines.create(BareGuest.realMode(BareGuest.SPIN), factories);
  }

  private static Disk disk(Path file, boolean readOnly) {
    return Disk.of("data", file, readOnly);
  }

  private void assertRefused(String problem, Disk... disks) throws Exception {
    Resources before = Resources.now();
    HypervisorException e = assertThrows(HypervisorException.class, () -> create(disks));
    assertEquals(Stage.CREATE, e.stage());
    assertTrue(e.getMessage().contains(problem), e::getMessage);
    assertEquals(before, Resources.now());
  }

  @Test
  void refuseWhatIsNoFileAndDoNotWaitForIt() throws Exception {
    Path fifo = directory.resolve("fifo");
    assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());
    create().closeWholly(); // so that what a first machine leaves is there before
    for (boolean readOnly : new boolean[] {true, false}) {
      assertRefused(
          "cannot use the image of disk data: " + fifo + " is a FIFO", disk(fifo, readOnly));
      assertRefused("a directory, not a regular file", disk(directory, readOnly));
      assertRefused("a character device", disk(Path.of("/dev/zero"), readOnly));
    }
  }

  @Test
  void areSharedByReaders() {
    KvmVirtualMachine one = create(disk(image, true), disk(image, true));
    create(disk(image, true)).close();
    one.close();
  }

  @Test
  void areTheirWritersAlone() throws Exception {
    KvmVirtualMachine writer = create(disk(image, false));
    assertRefused("the image of disk data, " + image + ", is in use", disk(image, false));
    assertRefused("machine or process, writes to it", disk(image, true));
    writer.closeWholly();
    KvmVirtualMachine reader = create(disk(image, true));
    assertRefused("machine or process, has it open", disk(image, false));
    reader.close();
    create(disk(image, false)).close();
  }

  @Test
  void cannotBeWrittenByTwoDisksOfOneMachine() throws Exception {
    create().closeWholly();
    assertRefused("is in use", disk(image, false), disk(image, false));
    assertRefused("is in use", disk(image, true), disk(image, false));
  }

  @Test
  void areKeptFromOtherProcesses() throws Exception {
    KvmVirtualMachine writer = create(disk(image, false));
    // fcntl(2) in another process: the same lock, of the other kind.
    ProcessBuilder other =
        new ProcessBuilder(
            "python3",
            "-c",
            "import fcntl,sys\n"
                + "f=open(sys.argv[1],'r+b')\n"
                + "try: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
                + "except OSError: sys.exit(7)",
            image.toString());
    assertEquals(7, other.start().waitFor());
    writer.close();
    assertEquals(0, other.start().waitFor());
  }
}
