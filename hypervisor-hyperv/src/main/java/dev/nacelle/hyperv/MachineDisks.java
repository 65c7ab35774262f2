// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.hyperv.sys.HcsException;
import dev.nacelle.hyperv.sys.HostComputeService;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The disks of one machine as Hyper-V takes them: raw images as fixed VHDs, by names that say so,
 * and {@linkplain DynamicVhdx VHDXs} as they are, in files that the machine's account may have.
 * Closed when the machine has ended. Used by one thread.
 *
 * <p>The machine gets names of its own for raw images, beside them, since a name must be on the
 * same volume. Its account, which is its own as well, is entered into each file's access control
 * list, and taken out of it again: machines come and go, the list, whose size is limited, stays as
 * it was. What a process that was killed has left of both is taken back by whoever next has a disk
 * in that directory: a name says whose it is.
 */
final class MachineDisks implements AutoCloseable {
  /** {@link Owner}, the machine, and which of its disks. */
  private static final Pattern NAME =
      Pattern.compile("(nacelle-[0-9-]+)\\.([A-Za-z0-9-]+)\\.[0-9]+" + MachineDocument.VHD);

  private final String owner;
  private final String id;
  private final List<VmSpec.Disk> disks = new ArrayList<>();
  private final Deque<Path> named = new ArrayDeque<>();
  private final Deque<Path> granted = new ArrayDeque<>();

  private MachineDisks(String owner, String id) {
    this.owner = owner;
    this.id = id;
  }

  /**
   * Makes them ready. Raw images that are none of VHDs become some: {@link FixedVhd}.
   *
   * @param owner whose the machine is
   * @param id the machine's name, by which its account is known before it is made
   * @param disks with raw images and VHDXs
   * @throws dev.nacelle.HypervisorException when one cannot be a VHD
   * @throws IOException when one is not there, cannot be written to, or not be given another name
   */
  static MachineDisks prepare(String owner, String id, List<VmSpec.Disk> disks) throws IOException {
    MachineDisks prepared = new MachineDisks(owner, id);
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
    Path name = image;
    if (image.toString().endsWith(MachineDocument.VHDX)) {
      if (!Files.isRegularFile(image)) {
        throw new NoSuchFileException(image.toString());
      }
    } else {
      FixedVhd.append(image);
      removeLeftovers(Objects.requireNonNull(image.toAbsolutePath().getParent()));
      name = image.resolveSibling(owner + "." + id + "." + disks.size() + MachineDocument.VHD);
      FixedVhd.link(image, name);
      named.push(name);
    }
    try {
      HostComputeService.grantAccess(id, name);
      granted.push(name);
    } catch (HcsException e) {
      // Somebody else may have seen to it, and this user may not: then the machine starts. If not,
      // starting tells which file it is.
      logger().log(System.Logger.Level.DEBUG, "Access was not granted", e);
    }
    disks.add(VmSpec.Disk.of(disk.serial(), name, disk.readOnly()));
  }

  /** Of processes that were killed: names and, by these, access to the files. */
  private static void removeLeftovers(Path directory) {
    try (DirectoryStream<Path> names =
        Files.newDirectoryStream(directory, "nacelle-*" + MachineDocument.VHD)) {
      for (Path name : names) {
        Matcher parts = NAME.matcher(name.getFileName().toString());
        if (parts.matches() && Owner.parse(parts.group(1)).filter(Owner::hasEnded).isPresent()) {
          revoke(parts.group(2), name, System.Logger.Level.DEBUG);
          remove(name, System.Logger.Level.DEBUG);
        }
      }
    } catch (IOException | DirectoryIteratorException e) {
      logger().log(System.Logger.Level.WARNING, "Names that others have left were not removed", e);
    }
  }

  /** The disks, with VHDs and VHDXs for images. */
  List<VmSpec.Disk> disks() {
    return List.copyOf(disks);
  }

  /** Takes access and names back. Idempotent, does not throw: what fails is logged. */
  @Override
  public void close() {
    while (!granted.isEmpty()) {
      revoke(id, granted.pop(), System.Logger.Level.WARNING);
    }
    while (!named.isEmpty()) {
      remove(named.pop(), System.Logger.Level.WARNING);
    }
  }

  private static void revoke(String id, Path name, System.Logger.Level level) {
    try {
      HostComputeService.revokeAccess(id, name);
    } catch (HcsException e) {
      logger().log(level, "A file still lets a machine that has ended", e);
    }
  }

  private static void remove(Path name, System.Logger.Level level) {
    try {
      Files.deleteIfExists(name);
    } catch (IOException e) {
      logger().log(level, "A name of a disk was not removed: " + name, e);
    }
  }

  private static System.Logger logger() {
    return System.getLogger(MachineDisks.class.getName());
  }
}
