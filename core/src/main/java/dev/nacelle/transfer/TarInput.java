// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.GuestIOException;
import dev.nacelle.agent.FileCall;
import dev.nacelle.agent.FileCall.Part;
import dev.nacelle.agent.FileEntry;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarWriter;
import dev.nacelle.internal.FileNames;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** A directory of the guest as a tar archive. */
public final class TarInput extends GuestInput {
  private final Meter meter;

  /** What the current file's header promised and did not come yet, and what pads it. */
  private long left;

  private int padding;

  /** Whether content of the current file is to be passed over, which has no entry. */
  private boolean skips;

  public TarInput(
      FileCall call, Meter meter, Function<Exception, RuntimeException> failures, Runnable onEnd) {
    super(call, failures, onEnd);
    this.meter = meter;
  }

  @Override
  protected boolean take(@Nullable Part part) throws IOException {
    if (part == null) {
      meter.done();
      endFile(TarWriter.end());
      return false;
    }
    if (part instanceof Part.Entry begins) {
      byte[] header = header(begins.entry());
      endFile(header);
      left =
          skips || begins.entry().kind() != FileEntry.Kind.REGULAR_FILE ? 0 : begins.entry().size();
      padding = TarWriter.padding(left);
      meter.file();
    } else if (part instanceof Part.Data data) {
      // A file that has grown since ends where its header says.
      ByteBuffer bytes = data.bytes();
      bytes.limit(bytes.position() + (int) Math.min(left, bytes.remaining()));
      left -= bytes.remaining();
      meter.bytes(bytes.remaining());
      give(bytes);
    } else if (part instanceof Part.Hole hole) {
      long count = Math.min(left, hole.bytes());
      left -= count;
      meter.bytes(count);
      giveZeros(count);
    }
    return true;
  }

  /** Pads the file before, which may have become shorter, and gives what follows. */
  private void endFile(byte[] next) {
    giveZeros(left + padding);
    left = 0;
    padding = 0;
    give(ByteBuffer.wrap(next));
  }

  private byte[] header(FileEntry entry) throws IOException {
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
    skips = type == null;
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
            type == TarEntry.Type.REGULAR_FILE ? entry.size() : 0,
            List.of(),
            entry.major(),
            entry.minor(),
            entry.attributes()));
  }
}
