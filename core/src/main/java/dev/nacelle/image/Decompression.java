// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import io.airlift.compress.zstd.ZstdInputStream;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import org.apache.commons.compress.compressors.gzip.GzipCompressorInputStream;
import org.jspecify.annotations.Nullable;

/**
 * A layer's tar archive out of its blob. Like container engines it believes the first bytes rather
 * than the media type, which some tools get wrong.
 */
final class Decompression extends InputStream {
  private static final int BUFFER_SIZE = 1 << 16;

  /** RFC 1952 section 2.3.1, RFC 8878 sections 3.1.1 and 3.1.2 (the first of 16 skippable ones). */
  private static final byte[] GZIP = {0x1f, (byte) 0x8b};

  private static final byte[] ZSTD = {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd};
  private static final byte[] ZSTD_SKIPPABLE = {0x2a, 0x4d, 0x18};

  private static final int MAGIC_LENGTH = 4;

  private final String format;
  private final Opener opener;

  /** Opened by the first read, because that may find the first fault. */
  private @Nullable InputStream in;

  @FunctionalInterface
  private interface Opener {
    InputStream open() throws IOException;
  }

  private Decompression(String format, Opener opener) {
    this.format = format;
    this.opener = opener;
  }

  /** The content is no stream of the format in which it begins. */
  static final class CorruptException extends IOException {
    private static final long serialVersionUID = 1L;

    CorruptException(String message, @Nullable Throwable cause) {
      super(message, cause);
    }
  }

  /** The unpacked content of a blob. */
  static InputStream open(VerifyingInputStream blob, String mediaType) throws IOException {
    BufferedInputStream in = new BufferedInputStream(blob, BUFFER_SIZE);
    in.mark(MAGIC_LENGTH);
    byte[] magic = in.readNBytes(MAGIC_LENGTH);
    in.reset();
    if (startsWith(magic, 0, GZIP)) {
      return new Decompression("gzip", () -> gzip(in));
    }
    if (startsWith(magic, 0, ZSTD) || startsWith(magic, 1, ZSTD_SKIPPABLE)) {
      return new Decompression("zstd", () -> new ZstdInputStream(in));
    }
    if (MediaTypes.isCompressed(mediaType)) {
      throw new CorruptException(
          "its type is " + mediaType + ", but it is neither gzip nor zstd", null);
    }
    return in;
  }

  private static InputStream gzip(InputStream in) throws IOException {
    // Concatenated: several members, as pigz and "cat a.gz b.gz" make them, are one stream.
    return GzipCompressorInputStream.builder()
        .setInputStream(in)
        .setDecompressConcatenated(true)
        .get();
  }

  private static boolean startsWith(byte[] bytes, int from, byte[] prefix) {
    int to = from + prefix.length;
    return bytes.length >= to && Arrays.equals(bytes, from, to, prefix, 0, prefix.length);
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
  }

  @Override
  public int read(byte[] bytes, int offset, int length) throws IOException {
    try {
      if (in == null) {
        in = opener.open();
      }
      return in.read(bytes, offset, length);
    } catch (VerifyingInputStream.SourceException | ImageException e) {
      throw e;
    } catch (IOException | RuntimeException e) {
      // Decoders report bad content by exceptions of either kind.
      throw new CorruptException("its " + format + " stream is corrupt: " + e.getMessage(), e);
    }
  }

  /** What was read from belongs to somebody else. */
  @Override
  public void close() {}
}
