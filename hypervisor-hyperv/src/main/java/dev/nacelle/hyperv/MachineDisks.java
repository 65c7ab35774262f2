// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.hyperv.sys.HcsException;
import dev.nacelle.hyperv.sys.HostComputeService;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * The disks of one machine as Hyper-V takes them: fixed VHDs, by names that say so, in files that
 * the machine's account may have. Closed when the machine has ended. Used by one thread.
 *
 * <p>The machine gets names of its own for its files, beside them, since a name must be on the same
 * volume. Its account, which is its own as well, is entered into each file's access control list,
 * and taken out of it again: machines come and go, the list, whose size is limited, stays as it
 * was. A process that is killed leaves both behind.
 */
final class MachineDisks implements AutoCloseable {
  private static final System.Logger LOGGER = System.getLogger(MachineDisks.class.getName());

  private final String id;
  private final List<VmSpec.Disk> disks = new ArrayList<>();
  private final Deque<Path> named = new ArrayDeque<>();
  private final Deque<Path> granted = new ArrayDeque<>();

  private MachineDisks(String id) {
    this.id = id;
  }

  /**
   * Makes them ready. Images that are none of VHDs become some: {@link FixedVhd}.
   *
   * @param id the machine's name, by which its account is known before it is made
   * @param disks with raw images
   * @throws dev.nacelle.HypervisorException when one cannot be a VHD
   * @throws IOException when one is not there, cannot be written to, or not be given another name
   */
  static MachineDisks prepare(String id, List<VmSpec.Disk> disks) throws IOException {
    MachineDisks prepared = new MachineDisks(id);
    try {
      for (VmSpec.Disk disk : disks) {
        prepared.add(disk);
      }
      return prepared;
    } catch (IOException | RuntimeException e) {
      prepared.close();
      throw e;
    }
  }

  private void add(VmSpec.Disk disk) throws IOException {
    Path image = disk.image();
    FixedVhd.append(image);
    Path name = image.resolveSibling(id + "-" + disks.size() + MachineDocument.VHD);
    FixedVhd.link(image, name);
    named.push(name);
    try {
      HostComputeService.grantAccess(id, name);
      granted.push(name);
    } catch (HcsException e) {
      // Somebody else may have seen to it, and this user may not: then the machine starts. If not,
      // starting tells which file it is.
      LOGGER.log(System.Logger.Level.DEBUG, "Access was not granted", e);
    }
    disks.add(VmSpec.Disk.of(disk.serial(), name, disk.readOnly()));
  }

  /** The disks, with VHDs for images. */
  List<VmSpec.Disk> disks() {
    return List.copyOf(disks);
  }

  /** Takes access and names back. Idempotent, does not throw: what fails is logged. */
  @Override
  public void close() {
    while (!granted.isEmpty()) {
      try {
        HostComputeService.revokeAccess(id, granted.pop());
      } catch (HcsException e) {
        LOGGER.log(System.Logger.Level.WARNING, "A file still lets a machine that has ended", e);
      }
    }
    while (!named.isEmpty()) {
      Path name = named.pop();
      try {
        Files.deleteIfExists(name);
      } catch (IOException e) {
        LOGGER.log(System.Logger.Level.WARNING, "A name of a disk was not removed: " + name, e);
      }
    }
  }
}
