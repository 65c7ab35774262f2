// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import dev.nacelle.NacelleException;
import dev.nacelle.internal.Zstd;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.apache.commons.compress.compressors.gzip.GzipCompressorInputStream;
import org.jspecify.annotations.Nullable;

/**
 * A layer's tar archive out of its blob. As container engines do, it goes by the first bytes alone,
 * for some tools write the wrong media type: what does not begin as gzip or Zstandard is the
 * archive itself.
 */
final class Decompression extends InputStream {
  private static final int BUFFER_SIZE = 1 << 16;

  /** RFC 1952 section 2.3.1. */
  private static final int GZIP = 0x8b1f;

  /** RFC 8878 section 3.1.1. */
  private static final int ZSTD = 0xfd2fb528;

  /** RFC 8878 section 3.1.2: the first of 16. */
  private static final int ZSTD_SKIPPABLE = 0x184d2a50;

  /** How many of the first bytes tell the format. */
  static final int MAGIC_LENGTH = 4;

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

  /** The content is no stream of the format in which it begins, or one beyond a limit. */
  static final class CorruptException extends IOException {
    private static final long serialVersionUID = 1L;

    CorruptException(String message, @Nullable Throwable cause) {
      super(message, cause);
    }
  }

  /** The unpacked content of a blob, which stays open when that is closed. */
  static InputStream open(VerifyingInputStream blob) throws IOException {
    BufferedInputStream in =
        new BufferedInputStream(blob, BUFFER_SIZE) {
          @Override
          public void close() {}
        };
    in.mark(MAGIC_LENGTH);
    int magic = magic(in.readNBytes(MAGIC_LENGTH));
    in.reset();
    if (isGzip(magic)) {
      return new Decompression("gzip", () -> gzip(in));
    }
    return isZstd(magic) ? new Decompression("zstd", () -> Zstd.open(in)) : in;
  }

  /** Whether what begins with these {@link #MAGIC_LENGTH} bytes, or has no more, is unpacked. */
  static boolean isCompressed(byte[] start) {
    int magic = magic(start);
    return isGzip(magic) || isZstd(magic);
  }

  private static int magic(byte[] start) {
    return ByteBuffer.wrap(Arrays.copyOf(start, MAGIC_LENGTH))
        .order(ByteOrder.LITTLE_ENDIAN)
        .getInt();
  }

  private static boolean isGzip(int magic) {
    return (magic & 0xffff) == GZIP;
  }

  private static boolean isZstd(int magic) {
    return magic == ZSTD || (magic & ~0xf) == ZSTD_SKIPPABLE;
  }

  private static InputStream gzip(InputStream in) throws IOException {
    // Concatenated: several members, as pigz and "cat a.gz b.gz" make them, are one stream.
    return GzipCompressorInputStream.builder()
        .setInputStream(in)
        .setDecompressConcatenated(true)
        .get();
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
    } catch (VerifyingInputStream.SourceException | NacelleException e) {
      throw e;
    } catch (Zstd.WindowException e) {
      throw new CorruptException("its zstd stream " + e.getMessage(), e);
    } catch (IOException | RuntimeException e) {
      // Decoders report bad content by exceptions of either kind.
      throw new CorruptException("its " + format + " stream is corrupt: " + e.getMessage(), e);
    }
  }

  @Override
  public void close() throws IOException {
    if (in != null) {
      in.close();
    }
  }
}
