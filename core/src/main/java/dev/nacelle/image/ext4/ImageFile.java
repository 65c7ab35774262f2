// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import dev.nacelle.image.ext4.FreeRuns.Run;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;

/**
 * The file under construction. Writes go through one buffer as long as they follow each other,
 * since most files are far smaller than a good write.
 */
final class ImageFile implements Closeable {
  private static final int BUFFER_SIZE = 256 * 1024;

  private final SeekableByteChannel channel;
  private final byte[] buffer = new byte[BUFFER_SIZE];

  /** Where in the file the buffer's first byte goes. */
  private long bufferStart;

  private int buffered;

  ImageFile(Path path) throws IOException {
    this(
        FileChannel.open(
            path,
            StandardOpenOption.CREATE,
            StandardOpenOption.WRITE,
            StandardOpenOption.TRUNCATE_EXISTING));
  }

  /** Takes over what is empty, or of zeros. */
  ImageFile(SeekableByteChannel channel) {
    this.channel = channel;
  }

  /** Where the next byte goes, in bytes. */
  void seek(long position) throws IOException {
    if (position != bufferStart + buffered) {
      flush();
      bufferStart = position;
    }
  }

  void seekBlock(long block) throws IOException {
    seek(block * Ext4Format.BLOCK_SIZE);
  }

  void write(ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      int length = Math.min(bytes.remaining(), room());
      bytes.get(buffer, buffered, length);
      buffered += length;
    }
  }

  void writeZeros(long count) throws IOException {
    for (long left = count; left > 0; ) {
      int length = (int) Math.min(left, room());
      Arrays.fill(buffer, buffered, buffered + length, (byte) 0);
      buffered += length;
      left -= length;
    }
  }

  /** Copies that many bytes, straight into the buffer. */
  void transferFrom(InputStream in, long count) throws IOException {
    for (long left = count; left > 0; ) {
      int wanted = (int) Math.min(left, room());
      int length = in.read(buffer, buffered, wanted);
      if (length < 0) {
        throw new EOFException("the content ends " + left + " bytes early");
      }
      buffered += length;
      left -= length;
    }
  }

  /** Copies that many blocks from the same place of another image. */
  void copyBlocks(FileChannel from, Run run) throws IOException {
    long position = run.start() * Ext4Format.BLOCK_SIZE;
    long end = run.end() * Ext4Format.BLOCK_SIZE;
    channel.position(position);
    while (position < end) {
      long count = from.transferTo(position, end - position, channel);
      if (count == 0) {
        throw new Ext4ImageException("the image ends early");
      }
      position += count;
    }
  }

  /** Free bytes in the buffer, at least one. */
  private int room() throws IOException {
    if (buffered == BUFFER_SIZE) {
      long end = bufferStart + buffered;
      flush();
      bufferStart = end;
    }
    return BUFFER_SIZE - buffered;
  }

  private void flush() throws IOException {
    write(ByteBuffer.wrap(buffer, 0, buffered), bufferStart);
    buffered = 0;
  }

  /** Writes what is buffered, and makes the file that long; what was never written is a hole. */
  void finish(long length) throws IOException {
    flush();
    if (channel.size() < length) {
      write(ByteBuffer.allocate(1), length - 1);
    }
  }

  private void write(ByteBuffer bytes, long position) throws IOException {
    channel.position(position);
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
