// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.FileCall;
import dev.nacelle.agent.FileEntry;
import dev.nacelle.agent.FileEntry.Kind;
import dev.nacelle.agent.FileFailedException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Sends a directory of the host: each directory before what is in it. */
public final class TreeSender {
  private static final String UNIX =
      "unix:isSymbolicLink,isDirectory,isRegularFile,lastModifiedTime,fileKey,mode,nlink";

  private final FileCall call;
  private final Meter meter;
  private final ContentSender content;
  private final long uid;
  private final long gid;

  /** Names that files with several have in the guest, by what they are. */
  private final Map<Object, String> linked = new HashMap<>();

  private boolean unix;

  public TreeSender(FileCall call, Meter meter, long uid, long gid) {
    this.call = call;
    this.meter = meter;
    this.uid = uid;
    this.gid = gid;
    content = new ContentSender(call, meter, true);
  }

  private record Level(DirectoryStream<Path> stream, Iterator<Path> files, String path) {}

  /** Sends all of it. */
  public void send(Path directory)
      throws IOException, AgentException, FileFailedException, InterruptedException {
    unix = directory.getFileSystem().supportedFileAttributeViews().contains("unix");
    Attributes top = attributes(directory);
    call.entry(FileEntry.of(Kind.DIRECTORY, "", top.mode(), uid, gid, top.modified()));
    Deque<Level> levels = new ArrayDeque<>();
    try {
      levels.push(open(directory, ""));
      while (!levels.isEmpty()) {
        Level level = levels.element();
        if (level.files().hasNext()) {
          Path file = level.files().next();
          String name = String.valueOf(file.getFileName());
          String path = level.path().isEmpty() ? name : level.path() + "/" + name;
          if (send(file, path)) {
            levels.push(open(file, path));
          }
        } else {
          levels.pop().stream().close();
        }
      }
    } finally {
      for (Level level : levels) {
        level.stream().close();
      }
    }
  }

  @SuppressWarnings("StreamResourceLeak") // is closed with its level
  private static Level open(Path directory, String path) throws IOException {
    DirectoryStream<Path> stream = Files.newDirectoryStream(directory);
    return new Level(stream, stream.iterator(), path);
  }

  /** Whether it is a directory, whose files are to follow. */
  private boolean send(Path file, String path)
      throws IOException, AgentException, FileFailedException, InterruptedException {
    Attributes attributes = attributes(file, LinkOption.NOFOLLOW_LINKS);
    if (attributes.isSymbolicLink()) {
      String target = Files.readSymbolicLink(file).toString().replace(separator(file), "/");
      call.entry(
          FileEntry.of(Kind.SYMBOLIC_LINK, path, 0777, uid, gid, attributes.modified())
              .withLinkTarget(target));
      meter.file();
    } else if (attributes.isDirectory()) {
      call.entry(
          FileEntry.of(Kind.DIRECTORY, path, attributes.mode(), uid, gid, attributes.modified()));
      meter.file();
      return true;
    } else if (attributes.isRegularFile()) {
      sendRegular(file, path, attributes);
    }
    // Sockets, FIFOs and devices are the host's own.
    return false;
  }

  private void sendRegular(Path file, String path, Attributes attributes)
      throws IOException, AgentException, FileFailedException, InterruptedException {
    Object key = attributes.fileKey();
    if (key != null && attributes.links() > 1) {
      String first = linked.putIfAbsent(key, path);
      if (first != null) {
        call.entry(
            FileEntry.of(Kind.HARD_LINK, path, 0, uid, gid, attributes.modified())
                .withLinkTarget(first));
        meter.file();
        return;
      }
    }
    try (InputStream in = Files.newInputStream(file, LinkOption.NOFOLLOW_LINKS)) {
      call.entry(
          FileEntry.of(
              Kind.REGULAR_FILE, path, attributes.mode(), uid, gid, attributes.modified()));
      content.send(in);
    }
    meter.file();
  }

  private static String separator(Path file) {
    return file.getFileSystem().getSeparator();
  }

  /**
   * What is told of a file.
   *
   * @param mode the low 12 bits of the host's, where it has such
   * @param links how many names it has, where that is known
   */
  private record Attributes(
      boolean isSymbolicLink,
      boolean isDirectory,
      boolean isRegularFile,
      Instant modified,
      @Nullable Object fileKey,
      int mode,
      int links) {}

  private Attributes attributes(Path file, LinkOption... options) throws IOException {
    if (!unix) {
      BasicFileAttributes basic = Files.readAttributes(file, BasicFileAttributes.class, options);
      return new Attributes(
          basic.isSymbolicLink(),
          basic.isDirectory(),
          basic.isRegularFile(),
          basic.lastModifiedTime().toInstant(),
          basic.fileKey(),
          basic.isDirectory() ? 0755 : 0644,
          1);
    }
    // All by one system call.
    Map<String, Object> all = Files.readAttributes(file, UNIX, options);
    return new Attributes(
        value(all, "isSymbolicLink", Boolean.class),
        value(all, "isDirectory", Boolean.class),
        value(all, "isRegularFile", Boolean.class),
        value(all, "lastModifiedTime", FileTime.class).toInstant(),
        all.get("fileKey"),
        value(all, "mode", Integer.class) & 07777,
        value(all, "nlink", Integer.class));
  }

  private static <T> T value(Map<String, Object> all, String name, Class<T> type) {
    return type.cast(Objects.requireNonNull(all.get(name)));
  }
}
