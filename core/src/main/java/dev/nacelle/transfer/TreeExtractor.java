// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.FileException;
import dev.nacelle.FileException.Reason;
import dev.nacelle.agent.FileCall.Part;
import dev.nacelle.agent.FileEntry;
import dev.nacelle.files.TreeCopy;
import dev.nacelle.internal.OperatingSystem;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributeView;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFilePermission;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Makes a directory of the host from the parts of a guest's, which are made to do harm: see {@link
 * dev.nacelle.GuestFiles#readTree}.
 *
 * <p>The directory has nothing in it at first, all that is made in it is made new, and links are
 * made last: so while files are written there is no link below it that a path could lead through. A
 * link's target goes up by ".." first, from a real directory within the tree to another, and then
 * down by names: so whatever links those are, it ends within.
 */
public final class TreeExtractor {
  private static final int MAX_TOLD = 1000;
  private static final PosixFilePermission[] PERMISSIONS = {
    PosixFilePermission.OTHERS_EXECUTE,
    PosixFilePermission.OTHERS_WRITE,
    PosixFilePermission.OTHERS_READ,
    PosixFilePermission.GROUP_EXECUTE,
    PosixFilePermission.GROUP_WRITE,
    PosixFilePermission.GROUP_READ,
    PosixFilePermission.OWNER_EXECUTE,
    PosixFilePermission.OWNER_WRITE,
    PosixFilePermission.OWNER_READ,
  };

  private final Path top;
  private final String path;
  private final long maxFiles;
  private final Meter meter;
  private final boolean windows;
  private final boolean posix;
  private final boolean made;

  private final List<FileEntry> links = new ArrayList<>();
  private final List<FileEntry> directories = new ArrayList<>();
  private final List<String> skipped = new ArrayList<>();
  private long skippedCount;
  private long told;
  private boolean begun;

  /** The directory that was last found to be there. */
  private Path known;

  private @Nullable FileEntry current;
  private @Nullable Path file;
  private @Nullable ContentWriter writer;

  /**
   * Makes the directory where there is none.
   *
   * @param path in the guest, for messages
   * @throws FileException when it is there and is not an empty directory
   */
  public TreeExtractor(Path top, String path, long maxFiles, Meter meter) throws IOException {
    this(top, path, maxFiles, meter, OperatingSystem.isWindows());
  }

  TreeExtractor(Path top, String path, long maxFiles, Meter meter, boolean windows)
      throws IOException {
    this.top = top;
    this.path = path;
    this.maxFiles = maxFiles;
    this.meter = meter;
    this.windows = windows;
    posix = top.getFileSystem().supportedFileAttributeViews().contains("posix");
    made = !Files.exists(top);
    Files.createDirectories(top);
    try (Stream<Path> there = Files.list(top)) {
      if (there.findAny().isPresent()) {
        throw new FileException(
            Reason.HOST_FILE,
            null,
            "the host's directory " + top + " is not empty",
            "Name one that is empty, or not there.",
            null);
      }
    }
    known = top;
  }

  /** Takes the next part. */
  public void accept(Part part) throws IOException {
    if (part instanceof Part.Entry begins) {
      begin(begins.entry());
    } else if (part instanceof Part.Data data) {
      meter.bytes(data.bytes().remaining());
      content().data(data.bytes());
    } else if (part instanceof Part.Hole hole) {
      meter.bytes(hole.bytes());
      content().hole(hole.bytes());
    } else {
      throw misbehaved("sent what was not asked of it");
    }
  }

  private ContentWriter content() {
    if (writer == null) {
      throw misbehaved("sent content of no regular file");
    }
    return writer;
  }

  private void begin(FileEntry entry) throws IOException {
    endFile();
    if (++told > maxFiles) {
      throw new FileException(
          Reason.TOO_LARGE, path, path + " has more than " + maxFiles + " files", null, null);
    }
    if (!begun) {
      begun = true;
      if (!entry.path().isEmpty() || entry.kind() != FileEntry.Kind.DIRECTORY) {
        throw misbehaved("began a tree with something else than its directory");
      }
      directories.add(entry);
      meter.file();
      return;
    }
    switch (entry.kind()) {
      case DIRECTORY -> {
        Path target = resolve(entry.path());
        makeDirectories(target, entry.path());
        directories.add(entry);
        meter.file();
      }
      case REGULAR_FILE -> {
        Path target = resolve(entry.path());
        makeParent(target, entry.path());
        try {
          writer = new ContentWriter(target);
        } catch (FileAlreadyExistsException e) {
          throw twice(entry.path(), e);
        }
        current = entry;
        file = target;
      }
      case HARD_LINK -> link(entry, resolve(entry.path()));
      case SYMBOLIC_LINK -> links.add(entry);
      case CHARACTER_DEVICE, BLOCK_DEVICE -> skip(entry, "a device");
      case FIFO -> skip(entry, "a FIFO");
      case SOCKET, OTHER -> skip(entry, "no file that a host has");
    }
  }

  private void endFile() throws IOException {
    if (writer != null && current != null && file != null) {
      writer.close();
      writer = null;
      apply(file, current.permissions() | 0600, current.modified());
      meter.file();
    }
  }

  /** The place of a file. */
  private Path resolve(String name) {
    Path target = top;
    for (String component : name.split("/", -1)) {
      target = resolve(target, component, name);
    }
    return target;
  }

  private Path resolve(Path above, String component, String name) {
    String refusal = HostNames.refusal(component, windows);
    if (refusal == null) {
      try {
        return above.resolve(component);
      } catch (InvalidPathException e) {
        refusal = "this host cannot have it: " + e.getReason();
      }
    }
    throw new FileException(
        Reason.UNREPRESENTABLE,
        whole(name),
        "the name '" + printable(component) + "' cannot be had here: " + refusal,
        "Read it as a tar archive, or rename it in the guest.",
        null);
  }

  private void makeParent(Path target, String name) throws IOException {
    Path parent = target.getParent();
    if (parent != null && !parent.equals(known)) {
      makeDirectories(parent, name);
    }
  }

  /** Makes directories from the top down, as far as they are not there; none of them is a link. */
  private void makeDirectories(Path directory, String name) throws IOException {
    Path at = top;
    Path below = directory.equals(top) ? null : top.relativize(directory);
    for (Path component : below == null ? List.<Path>of() : below) {
      at = at.resolve(component);
      try {
        Files.createDirectory(at);
        if (posix) {
          setPermissions(at, 0700);
        }
      } catch (FileAlreadyExistsException e) {
        boolean same =
            Files.isDirectory(at, LinkOption.NOFOLLOW_LINKS)
                && at.toRealPath(LinkOption.NOFOLLOW_LINKS).endsWith(component);
        if (!same) {
          throw twice(name, e);
        }
      }
    }
    known = directory;
  }

  private void link(FileEntry entry, Path target) throws IOException {
    Path existing = resolve(entry.linkTarget());
    if (!Files.isRegularFile(existing, LinkOption.NOFOLLOW_LINKS)) {
      throw misbehaved("named a link to a file that it did not send");
    }
    makeParent(target, entry.path());
    try {
      Files.createLink(target, existing);
    } catch (FileAlreadyExistsException e) {
      throw twice(entry.path(), e);
    } catch (UnsupportedOperationException | FileSystemException e) {
      // A file system without such links, or with few of one file.
      meter.bytes(Files.size(existing));
      Files.copy(existing, target, LinkOption.NOFOLLOW_LINKS);
    }
    meter.file();
  }

  /** All has come. */
  public TreeCopy finish() throws IOException {
    endFile();
    if (!begun) {
      throw misbehaved("sent nothing of the directory");
    }
    for (FileEntry link : links) {
      makeLink(link);
    }
    for (int i = directories.size() - 1; i >= 0; i--) {
      FileEntry directory = directories.get(i);
      boolean isTop = directory.path().isEmpty();
      Path at = isTop ? top : resolve(directory.path());
      if (!isTop || made) {
        apply(at, directory.permissions() | 0700, directory.modified());
      }
    }
    meter.done();
    return TreeCopy.of(meter.files(), meter.bytes(), skippedCount, skipped);
  }

  private void makeLink(FileEntry link) throws IOException {
    if (!staysWithin(link)) {
      skip(link, "a link that leads out");
      return;
    }
    Path at = resolve(link.path());
    makeParent(at, link.path());
    String refusal = null;
    Path target = top.getFileSystem().getPath("");
    for (String component : link.linkTarget().split("/", -1)) {
      boolean up = component.equals("..") || component.equals(".") || component.isEmpty();
      refusal = refusal != null || up ? refusal : HostNames.refusal(component, windows);
    }
    try {
      target = top.getFileSystem().getPath(link.linkTarget());
    } catch (InvalidPathException e) {
      refusal = "this host cannot have it";
    }
    if (refusal != null) {
      skip(link, "a link whose target this host cannot name");
      return;
    }
    try {
      Files.createSymbolicLink(at, target);
      meter.file();
    } catch (FileAlreadyExistsException e) {
      throw twice(link.path(), e);
    } catch (UnsupportedOperationException | FileSystemException e) {
      skip(link, "a link, which cannot be made here");
    }
  }

  /** Whether it leads, by its text and whatever other links there are, to what is in the tree. */
  static boolean staysWithin(FileEntry link) {
    String target = link.linkTarget();
    if (target.isEmpty() || target.startsWith("/") || target.indexOf('\0') >= 0) {
      return false;
    }
    long depth = link.path().chars().filter(c -> c == '/').count();
    boolean down = false;
    for (String component : target.split("/", -1)) {
      if (component.equals("..")) {
        depth--;
        if (down || depth < 0) {
          return false;
        }
      } else if (!component.isEmpty() && !component.equals(".")) {
        down = true;
      }
    }
    return true;
  }

  private void skip(FileEntry entry, String why) {
    skippedCount++;
    if (skipped.size() < MAX_TOLD) {
      skipped.add(printable(entry.path()) + ": " + why);
    }
  }

  private void apply(Path at, int permissions, Instant modified) throws IOException {
    if (posix) {
      setPermissions(at, permissions);
    }
    FileTime time;
    try {
      time = FileTime.from(modified);
      Files.getFileAttributeView(at, BasicFileAttributeView.class, LinkOption.NOFOLLOW_LINKS)
          .setTimes(time, null, null);
    } catch (IllegalArgumentException | FileSystemException e) {
      // A time that this file system does not have: the file has that of its copying.
    }
  }

  private static void setPermissions(Path at, int permissions) throws IOException {
    Set<PosixFilePermission> set = EnumSet.noneOf(PosixFilePermission.class);
    for (int bit = 0; bit < PERMISSIONS.length; bit++) {
      if ((permissions & 1 << bit) != 0) {
        set.add(PERMISSIONS[bit]);
      }
    }
    Files.getFileAttributeView(at, PosixFileAttributeView.class, LinkOption.NOFOLLOW_LINKS)
        .setPermissions(set);
  }

  /** Removes all that was made. */
  public void abandon() throws IOException {
    if (writer != null) {
      writer.close();
      writer = null;
    }
    Files.walkFileTree(
        top,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path directory, @Nullable IOException failure)
              throws IOException {
            if (failure != null) {
              throw failure;
            }
            if (made || !directory.equals(top)) {
              Files.delete(directory);
            }
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult visitFileFailed(Path file, IOException failure)
              throws IOException {
            if (failure instanceof NoSuchFileException) {
              return FileVisitResult.CONTINUE;
            }
            throw failure;
          }
        });
  }

  private String whole(String name) {
    return path.endsWith("/") ? path + name : path + "/" + name;
  }

  private FileException twice(String name, IOException cause) {
    return new FileException(
        Reason.UNREPRESENTABLE,
        whole(name),
        "the name '"
            + printable(name)
            + "' comes twice, or this host takes another one for the same",
        "Read it as a tar archive, or rename it in the guest.",
        cause);
  }

  private FileException misbehaved(String how) {
    return new FileException(
        Reason.GUEST_MISBEHAVED,
        path,
        "The guest " + how,
        "Close the sandbox, for its guest is not to be relied on.",
        null);
  }

  static String printable(String name) {
    StringBuilder text = new StringBuilder();
    name.codePoints()
        .limit(1000)
        .map(
            c -> Character.isISOControl(c) || Character.getType(c) == Character.SURROGATE ? '?' : c)
        .forEach(text::appendCodePoint);
    return text.toString();
  }
}
