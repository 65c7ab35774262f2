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
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;

/** Sends a directory of the host: each directory before what is in it. */
public final class TreeSender {
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
    unix = HostFile.hasUnixView(directory);
    HostFile top = HostFile.of(directory, unix, true);
    call.entry(FileEntry.of(Kind.DIRECTORY, "", top.permissions(), uid, gid, modified(top)));
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
    HostFile facts = HostFile.of(file, unix, false);
    if (facts.isLink()) {
      String target = Files.readSymbolicLink(file).toString().replace(separator(file), "/");
      call.entry(
          FileEntry.of(Kind.SYMBOLIC_LINK, path, 0777, uid, gid, modified(facts))
              .withLinkTarget(target));
      meter.file();
    } else if (facts.isDirectory()) {
      call.entry(
          FileEntry.of(Kind.DIRECTORY, path, facts.permissions(), uid, gid, modified(facts)));
      meter.file();
      return true;
    } else if (facts.isRegular()) {
      sendRegular(file, path, facts);
    }
    // Sockets, FIFOs and devices are the host's own.
    return false;
  }

  private void sendRegular(Path file, String path, HostFile facts)
      throws IOException, AgentException, FileFailedException, InterruptedException {
    Object key = facts.sharedKey();
    if (key != null) {
      String first = linked.putIfAbsent(key, path);
      if (first != null) {
        call.entry(
            FileEntry.of(Kind.HARD_LINK, path, 0, uid, gid, modified(facts)).withLinkTarget(first));
        meter.file();
        return;
      }
    }
    try (InputStream in = Files.newInputStream(file, LinkOption.NOFOLLOW_LINKS)) {
      call.entry(
          FileEntry.of(Kind.REGULAR_FILE, path, facts.permissions(), uid, gid, modified(facts)));
      content.send(in);
    }
    meter.file();
  }

  private static String separator(Path file) {
    return file.getFileSystem().getSeparator();
  }

  private static Instant modified(HostFile file) {
    return file.modified().toInstant();
  }
}
