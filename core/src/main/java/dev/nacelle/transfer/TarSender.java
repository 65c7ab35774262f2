// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.FileCall;
import dev.nacelle.agent.FileEntry;
import dev.nacelle.agent.FileEntry.Kind;
import dev.nacelle.agent.FileFailedException;
import dev.nacelle.image.ext4.DataRange;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarReader;
import dev.nacelle.internal.FileNames;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;

/** Sends what is in a tar archive. */
public final class TarSender {
  private static final int MAX_HEADER_BYTES = 1 << 20;

  private final FileCall call;
  private final Meter meter;
  private final ContentSender content;
  private final byte[] buffer = new byte[64 * 1024];

  public TarSender(FileCall call, Meter meter) {
    this.call = call;
    this.meter = meter;
    content = new ContentSender(call, meter, true);
  }

  /** Sends all of it. */
  public void send(InputStream archive)
      throws IOException, AgentException, FileFailedException, InterruptedException {
    TarReader reader = new TarReader(archive, MAX_HEADER_BYTES);
    for (TarEntry entry = reader.next(); entry != null; entry = reader.next()) {
      call.entry(entry(entry));
      if (entry.type() == TarEntry.Type.REGULAR_FILE) {
        sendContent(entry, reader.content());
      }
      meter.file();
    }
    // What is behind the end is padding.
    archive.transferTo(OutputStream.nullOutputStream());
  }

  private void sendContent(TarEntry entry, InputStream in)
      throws IOException, AgentException, FileFailedException, InterruptedException {
    long position = 0;
    for (DataRange range : entry.data()) {
      content.zeros(range.offset() - position);
      for (long left = range.length(); left > 0; ) {
        int count = in.readNBytes(buffer, 0, (int) Math.min(left, buffer.length));
        if (count == 0) {
          throw new EOFException("the archive is truncated");
        }
        content.send(buffer, 0, count);
        left -= count;
      }
      position = range.end();
    }
    content.zeros(entry.size() - position);
    content.end();
  }

  private static FileEntry entry(TarEntry entry) throws IOException {
    Kind kind =
        switch (entry.type()) {
          case REGULAR_FILE -> Kind.REGULAR_FILE;
          case HARD_LINK -> Kind.HARD_LINK;
          case SYMBOLIC_LINK -> Kind.SYMBOLIC_LINK;
          case CHARACTER_DEVICE -> Kind.CHARACTER_DEVICE;
          case BLOCK_DEVICE -> Kind.BLOCK_DEVICE;
          case DIRECTORY -> Kind.DIRECTORY;
          case FIFO -> Kind.FIFO;
        };
    String target = FileNames.decode(entry.linkTarget());
    return new FileEntry(
        kind,
        relative(FileNames.decode(entry.path())),
        entry.permissions(),
        entry.uid(),
        entry.gid(),
        0,
        entry.modified(),
        kind == Kind.HARD_LINK ? relative(target) : target,
        0,
        1,
        entry.major(),
        entry.minor(),
        entry.xattrs());
  }

  private static String relative(String path) throws IOException {
    List<String> components = new ArrayList<>();
    for (String component : path.split("/", -1)) {
      if (component.equals("..")) {
        throw new IOException(
            "the path '" + TreeExtractor.printable(path) + "' leads out of the archive");
      }
      if (!component.isEmpty() && !component.equals(".")) {
        components.add(component);
      }
    }
    return String.join("/", components);
  }
}
