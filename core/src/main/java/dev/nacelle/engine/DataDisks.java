// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataDisk;
import dev.nacelle.DataSize;
import dev.nacelle.ImageException;
import dev.nacelle.ImageException.Reason;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.Stage;
import dev.nacelle.image.ext4.Directory;
import dev.nacelle.image.ext4.Ext4ImageException;
import dev.nacelle.image.ext4.Ext4LimitException;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4State;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.ext4.InodeAttributes;
import dev.nacelle.internal.PrivateFile;
import dev.nacelle.internal.RegularFile;
import dev.nacelle.internal.Shortage;
import dev.nacelle.internal.jfr.Recordings;
import dev.nacelle.spi.DiskFormat;
import dev.nacelle.spi.VmSpec.Disk;
import dev.nacelle.transfer.DirectoryDisk;
import dev.nacelle.transfer.Meter;
import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * The data disks of one sandbox, in their order: those that are made for it, and images that there
 * are. Closed when its machine has ended, or has opened them.
 */
final class DataDisks implements AutoCloseable {
  /** Of a disk's serial number: "data-0" and so on. */
  private static final String SERIAL = "data-";

  private static final String VHDX = ".vhdx";
  private static final int BLOCK = 4096;

  private final List<Disk> disks = new ArrayList<>();
  private final List<ScratchDisk> made = new ArrayList<>();

  private DataDisks() {}

  /**
   * Makes them.
   *
   * @param directory for those that go with the sandbox
   * @throws ImageException when one cannot be made of what it is to hold, or its image not be used
   * @throws dev.nacelle.NacelleException when one cannot be made in that directory
   */
  static DataDisks make(Map<String, DataDisk> wanted, Path directory, DiskFormat format)
      throws IOException {
    DataDisks all = new DataDisks();
    try {
      for (DataDisk disk : wanted.values()) {
        all.add(disk, directory, format);
      }
      return all;
    } catch (Throwable e) {
      all.close();
      throw e;
    }
  }

  private void add(DataDisk disk, Path directory, DiskFormat format) throws IOException {
    Path image;
    if (disk.kind() == DataDisk.Kind.IMAGE) {
      image = disk.path().orElseThrow();
      check(image, disk.isReadOnly());
    } else {
      ScratchDisk own =
          fill(
              disk,
              false,
              (options, content) -> ScratchDisk.create(directory, options, format, content));
      made.add(own);
      image = own.file();
    }
    disks.add(Disk.of(SERIAL + disks.size(), image, disk.isReadOnly()));
  }

  /** Makes a disk of a filesystem with some content. */
  @FunctionalInterface
  private interface Maker<T> {
    T make(Ext4Options options, ScratchDisk.Content content) throws IOException;
  }

  private static <T> T fill(DataDisk disk, boolean kept, Maker<T> maker) throws IOException {
    UUID id = UUID.randomUUID();
    if (disk.kind() == DataDisk.Kind.EMPTY) {
      Ext4Options options =
          Ext4Options.disk(id, disk.size().orElseThrow().bytes(), 0, kept && !disk.isReadOnly());
      return maker.make(
          options,
          writer -> {
            Directory root = writer.root();
            writer.setAttributes(
                root,
                new InodeAttributes(
                    0755, disk.uid().orElse(0), disk.gid().orElse(0), Instant.now()));
            writer.finish();
          });
    }
    Path directory = disk.path().orElseThrow();
    Recordings.Ending recording = Recordings.disk();
    long size = -1;
    try {
      DirectoryDisk source = DirectoryDisk.of(directory, owner(disk));
      size = source.diskBytes(disk.isReadOnly() ? 0 : disk.freeSpace().bytes());
      if (size > DataDisk.MAXIMUM_SIZE.bytes()) {
        throw tooLarge(directory, DataSize.bytes(size).toString(), null);
      }
      Ext4Options options = Ext4Options.disk(id, size, source.files(), kept && !disk.isReadOnly());
      Meter meter = new Meter(directory.toString(), Long.MAX_VALUE, disk.listener().orElse(null));
      T result =
          maker.make(
              options,
              writer -> {
                try {
                  source.write(writer, meter);
                  writer.finish();
                } catch (Ext4LimitException e) {
                  throw tooLarge(directory, "more than when it was first looked at", e);
                }
              });
      recording.end(source.bytes());
      return result;
    } catch (Throwable e) {
      recording.end(-1);
      throw e;
    }
  }

  private static DirectoryDisk.@Nullable Owner owner(DataDisk disk) {
    return disk.uid().isEmpty()
        ? null
        : new DirectoryDisk.Owner(disk.uid().getAsLong(), disk.gid().orElse(0));
  }

  private static ImageException tooLarge(Path directory, String what, @Nullable Throwable cause) {
    return new ImageException(
        Reason.TOO_LARGE,
        "A disk of the directory " + directory + " would have " + what,
        "Make several disks of it, each of at most " + DataDisk.MAXIMUM_SIZE + ".",
        cause);
  }

  /**
   * Makes an image that stays.
   *
   * @throws ImageException when it cannot be made
   * @throws InterruptedOperationException when the thread is interrupted
   */
  static void make(DataDisk disk, Path image) {
    requireRaw(image);
    if (Files.exists(image)) {
      throw new ImageException(
          Reason.HOST_DISK, "There is something already: " + image, "Name another file.", null);
    }
    Path part = image.resolveSibling(image.getFileName() + "." + UUID.randomUUID() + ".part");
    try {
      try {
        PrivateFile.create(part);
        fill(disk, true, (options, content) -> write(part, options, content));
        Files.move(part, image);
      } finally {
        Files.deleteIfExists(part);
      }
    } catch (ClosedByInterruptException e) {
      InterruptedException interrupted = new InterruptedException();
      interrupted.initCause(e);
      throw new InterruptedOperationException(
          Stage.IMAGE, "interrupted while the disk " + image + " was made", interrupted);
    } catch (IOException e) {
      throw new ImageException(
          Reason.HOST_DISK,
          "The disk " + image + " cannot be made: " + e,
          Shortage.remedy(e, "See that there is space, and that its directory can be written to."),
          e);
    }
  }

  private static Path write(Path file, Ext4Options options, ScratchDisk.Content content)
      throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
        Ext4Writer writer = Ext4Writer.create(channel, options)) {
      content.write(writer);
      channel.force(true);
    }
    return file;
  }

  private static void requireRaw(Path image) {
    if (image.toString().endsWith(VHDX)) {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "The image of a data disk is no VHDX, and not called one: " + image,
          "Give the file another name.",
          null);
    }
  }

  /** What the guest's kernel would say later, and less well. */
  private static void check(Path image, boolean readOnly) {
    requireRaw(image);
    try {
      RegularFile.require(image);
      long size = Files.size(image);
      // On Windows with its footer.
      if (size % BLOCK != 0 && size % BLOCK != 512) {
        throw new ImageException(
            Reason.UNSUPPORTED,
            "The disk " + image + " has " + size + " bytes, which are no whole blocks of " + BLOCK,
            "Use a raw image of ext4.",
            null);
      }
      Ext4State state = Ext4State.of(image);
      if (state == Ext4State.NEEDS_CHECK || (readOnly && state == Ext4State.NEEDS_RECOVERY)) {
        boolean journal = state == Ext4State.NEEDS_RECOVERY;
        throw new ImageException(
            Reason.DAMAGED,
            "The disk "
                + image
                + (journal
                    ? " was not closed, and cannot be made whole again where it can only be read"
                    : " was not closed, and has no journal"),
            journal
                ? "Start a sandbox once with it that may write to it, or run: e2fsck -p " + image
                : "Run: e2fsck -f " + image,
            null);
      }
    } catch (Ext4ImageException e) {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "The disk " + image + " is no image of ext4: " + e.getMessage(),
          "Use a raw image of a filesystem, without partitions, or have one made.",
          e);
    } catch (NoSuchFileException e) {
      throw new ImageException(Reason.NOT_FOUND, "No such disk: " + image, null, e);
    } catch (IOException e) {
      throw new ImageException(
          Reason.HOST_DISK,
          "The disk " + image + " cannot be used: " + e,
          Shortage.remedy(e, "See that it is a file that this user may read."),
          e);
    }
  }

  /** As the machine has them. */
  List<Disk> disks() {
    return disks;
  }

  /** Takes the names of those that were made away. Idempotent; does not throw. */
  @Override
  public void close() {
    made.forEach(ScratchDisk::close);
  }
}
