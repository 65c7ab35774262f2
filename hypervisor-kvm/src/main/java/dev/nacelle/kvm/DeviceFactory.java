// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.HypervisorException;
import dev.nacelle.RateLimit;
import dev.nacelle.Stage;
import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.virtio.EntropyDevice;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import dev.nacelle.kvm.device.virtio.VirtioDevice;
import dev.nacelle.kvm.device.virtio.block.BlockDevice;
import dev.nacelle.kvm.device.virtio.block.DiskEngine;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.NotAFileException;
import dev.nacelle.spi.VmSpec.Disk;
import org.jspecify.annotations.Nullable;

/** Makes a memory-mapped device for one virtual machine. */
@FunctionalInterface
interface DeviceFactory {
  /**
   * Makes it; when that fails, nothing is left behind.
   *
   * @throws HypervisorException when the specification cannot be met
   * @throws ErrnoException when the host refuses
   */
  AttachedDevice create(DeviceResources resources);

  /**
   * Whether the device's work waits, for a disk or the like: then it gets an event loop of its own,
   * so that it keeps no other device waiting.
   */
  default boolean waits() {
    return false;
  }

  /** Gives a virtio device its registers, and closes it when that fails. */
  static AttachedDevice overMmio(VirtioDevice device) {
    try {
      return new MmioTransport(device);
    } catch (RuntimeException | Error e) {
      device.close();
      throw e;
    }
  }

  /** The virtio entropy device, with no limit where that is null. */
  static DeviceFactory entropy(@Nullable RateLimit limit) {
    return resources -> overMmio(new EntropyDevice(resources, limit));
  }

  /** A virtio block device without a limit. */
  static DeviceFactory disk(Disk disk) {
    return disk(disk, null);
  }

  /** A virtio block device, with no limit where that is null. */
  static DeviceFactory disk(Disk disk, @Nullable RateLimit limit) {
    return new DeviceFactory() {
      @Override
      public AttachedDevice create(DeviceResources resources) {
        DiskEngine engine = engine(disk);
        try {
          return overMmio(
              new BlockDevice(resources, engine, disk.readOnly(), disk.serial(), limit));
        } catch (RuntimeException | Error e) {
          engine.close();
          throw e;
        }
      }

      @Override
      public boolean waits() {
        return true;
      }
    };
  }

  private static DiskEngine engine(Disk disk) {
    FileDescriptor image = open(disk);
    try {
      lock(disk, image);
      checkSize(disk, image);
      return DiskEngine.of(image);
    } catch (RuntimeException | Error e) {
      image.close();
      throw e;
    }
  }

  private static FileDescriptor open(Disk disk) {
    try {
      return FileDescriptor.openFile(disk.image(), !disk.readOnly());
    } catch (ErrnoException e) {
      throw new HypervisorException(
          Stage.CREATE,
          "cannot open the image of disk " + disk.serial() + ": " + e.getMessage(),
          e.remedy(),
          e);
    } catch (NotAFileException e) {
      throw new HypervisorException(
          Stage.CREATE,
          "cannot use the image of disk " + disk.serial() + ": " + e.getMessage(),
          "Give the path of a regular file, a raw image.",
          e);
    }
  }

  /** Against another machine that would write what this one has cached, or the reverse. */
  private static void lock(Disk disk, FileDescriptor image) {
    boolean locked;
    try {
      locked = image.tryLock(!disk.readOnly());
    } catch (ErrnoException e) {
      throw new HypervisorException(
          Stage.CREATE,
          "cannot lock the image of disk " + disk.serial() + ": " + e.getMessage(),
          "Keep the image on a file system that has locks.",
          e);
    }
    if (!locked) {
      throw new HypervisorException(
          Stage.CREATE,
          "the image of disk "
              + disk.serial()
              + ", "
              + disk.image()
              + ", is in use: another disk, of this or another machine or process, "
              + (disk.readOnly() ? "writes to it" : "has it open"),
          "Close the other machine first, give each machine a copy of its own, or make the disk"
              + " read-only in all of them.",
          null);
    }
  }

  private static void checkSize(Disk disk, FileDescriptor image) {
    long size = image.size();
    if (size % BlockDevice.SECTOR_BYTES != 0) {
      throw new HypervisorException(
          Stage.CREATE,
          "the image of disk "
              + disk.serial()
              + ", "
              + disk.image()
              + ", has "
              + size
              + " bytes, which is no multiple of "
              + BlockDevice.SECTOR_BYTES,
          "Give a raw image.",
          null);
    }
  }
}
