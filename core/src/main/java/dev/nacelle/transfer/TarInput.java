// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.GuestIOException;
import dev.nacelle.agent.FileCall;
import dev.nacelle.agent.FileCall.Part;
import dev.nacelle.agent.FileEntry;
import dev.nacelle.image.ext4.DataRange;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarWriter;
import dev.nacelle.internal.FileNames;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A directory of the guest as a tar archive. A file's holes are holes where the guest tells them.
 */
public final class TarInput extends GuestInput {
  private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

  private final Meter meter;

  /** The current file's, of which its header tells where data is. */
  private List<DataRange> data = List.of();

  /** The first that is not passed yet. */
  private int range;

  /** How much of the file has come, holes included, of as much as it has. */
  private long position;

  private long size;

  /** What the header promised and did not come yet, and what pads it. */
  private long left;

  private int padding;

  /** Of the file whose entry is yet to come; null where nothing was told. */
  private @Nullable GuestMap map;

  public TarInput(
      FileCall call, Meter meter, Function<Exception, RuntimeException> failures, Runnable onEnd) {
    super(call, failures, onEnd);
    this.meter = meter;
  }

  @Override
  protected boolean take(@Nullable Part part) throws IOException {
    if (part instanceof Part.Map told) {
      map = map == null ? new GuestMap() : map;
      map.add(told.runs());
      return true;
    }
    if (part instanceof Part.Entry begins) {
      begin(begins.entry());
      return true;
    }
    if (map != null) {
      throw new GuestIOException("the guest told where a file has data, and sent no file");
    }
    if (part == null) {
      meter.done();
      endFile(TarWriter.end());
      return false;
    }
    if (part instanceof Part.Data content) {
      ByteBuffer bytes = content.bytes();
      boolean whole = isWhole(bytes.remaining());
      ByteBuffer kept = whole ? NOTHING : ByteBuffer.allocate(bytes.remaining());
      advance(bytes.remaining(), bytes, kept);
      give(whole ? bytes : kept.flip());
    } else if (part instanceof Part.Hole hole) {
      giveZeros(advance(hole.bytes(), NOTHING, NOTHING));
    }
    return true;
  }

  private void begin(FileEntry entry) throws IOException {
    long length = entry.kind() == FileEntry.Kind.REGULAR_FILE ? entry.size() : 0;
    if (length > GuestMap.MAX_SIZE) {
      throw new GuestIOException("the guest told of a file of " + length + " bytes");
    }
    List<DataRange> ranges = map == null ? List.of(new DataRange(0, length)) : map.ranges(length);
    map = null;
    endFile(header(entry, length, ranges));
    data = ranges;
    range = 0;
    position = 0;
    size = length;
    left = ranges.stream().mapToLong(DataRange::length).sum();
    padding = TarWriter.padding(left);
    meter.file();
  }

  /** Whether so many bytes that come next are all within one range. */
  private boolean isWhole(int count) {
    return range < data.size()
        && data.get(range).offset() <= position
        && data.get(range).end() - position >= count;
  }

  /** Pads the file before, which may have become shorter, and gives what follows. */
  private void endFile(byte[] next) {
    giveZeros(left + padding);
    left = 0;
    padding = 0;
    give(ByteBuffer.wrap(next));
  }

  /**
   * Passes so many bytes, and tells how many of them the header has promised. A file that has
   * changed since has what lies there by then, and ends where the header says.
   *
   * @param from the bytes, of which those go to the other
   */
  private long advance(long count, ByteBuffer from, ByteBuffer to) throws IOException {
    long start = position;
    position = count > size - start ? size : start + count;
    meter.bytes(position - start);
    long kept = 0;
    while (range < data.size() && data.get(range).offset() < position) {
      DataRange current = data.get(range);
      long first = Math.max(start, current.offset());
      long end = Math.min(position, current.end());
      kept += end - first;
      if (to.hasRemaining()) {
        to.put(from.slice(from.position() + (int) (first - start), (int) (end - first)));
      }
      if (current.end() > position) {
        break;
      }
      range++;
    }
    left -= kept;
    return kept;
  }

  private byte[] header(FileEntry entry, long length, List<DataRange> ranges) throws IOException {
    TarEntry.@Nullable Type type =
        switch (entry.kind()) {
          case REGULAR_FILE -> TarEntry.Type.REGULAR_FILE;
          case DIRECTORY -> TarEntry.Type.DIRECTORY;
          case SYMBOLIC_LINK -> TarEntry.Type.SYMBOLIC_LINK;
          case HARD_LINK -> TarEntry.Type.HARD_LINK;
          case CHARACTER_DEVICE -> TarEntry.Type.CHARACTER_DEVICE;
          case BLOCK_DEVICE -> TarEntry.Type.BLOCK_DEVICE;
          case FIFO -> TarEntry.Type.FIFO;
          case SOCKET, OTHER -> null;
        };
    if (type == null) {
      return new byte[0];
    }
    if (entry.path().indexOf('\0') >= 0 || entry.linkTarget().indexOf('\0') >= 0) {
      throw new GuestIOException("the guest named a file with a NUL");
    }
    ByteArrayOutputStream path = new ByteArrayOutputStream();
    path.writeBytes(FileNames.encode("./" + entry.path()));
    if (type == TarEntry.Type.DIRECTORY && !entry.path().isEmpty()) {
      path.write('/');
    }
    String target = entry.linkTarget();
    return TarWriter.header(
        new TarEntry(
            type,
            path.toByteArray(),
            FileNames.encode(type == TarEntry.Type.HARD_LINK ? "./" + target : target),
            entry.permissions(),
            entry.uid(),
            entry.gid(),
            entry.modified(),
            length,
            ranges,
            entry.major(),
            entry.minor(),
            entry.attributes()));
  }
}
