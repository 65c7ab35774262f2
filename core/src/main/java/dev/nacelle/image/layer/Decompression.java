// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.layer;

import dev.nacelle.NacelleException;
import dev.nacelle.image.oci.VerifyingInputStream;
import dev.nacelle.internal.BlockInputStream;
import dev.nacelle.internal.Gzip;
import dev.nacelle.internal.Zstd;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;
import java.util.regex.Pattern;
import org.apache.commons.compress.compressors.bzip2.BZip2CompressorInputStream;
import org.jspecify.annotations.Nullable;
import org.tukaani.xz.MemoryLimitException;
import org.tukaani.xz.XZInputStream;

/**
 * A layer's tar archive out of its blob. As container engines do, it goes by the first bytes alone,
 * for some tools write the wrong media type: what does not begin as gzip, Zstandard, xz or bzip2 is
 * the archive itself. The last two are in no specification of today, but in images of old.
 */
public final class Decompression extends BlockInputStream {
  private static final int BUFFER_SIZE = 1 << 16;

  /** What xz -9 needs is 65 MiB; as much as for Zstandard is given to it. */
  private static final int MAX_XZ_KIB = 128 << 10;

  /** How many of the first bytes tell the format. */
  public static final int MAGIC_LENGTH = 6;

  /** A format of compression. */
  @SuppressWarnings("ImmutableEnumChecker") // method references hold nothing
  private enum Format {
    /** RFC 1952 section 2.3.1. */
    GZIP("gzip", "1f8b", Gzip::open),

    /** RFC 8878 section 3.1.1. */
    ZSTD("zstd", "28b52ffd", Zstd::open),

    /** RFC 8878 section 3.1.2: 16 of them. */
    ZSTD_SKIPPABLE("zstd", "5.2a4d18", Zstd::open),

    /** "The .xz File Format", section 2.1.1.1. */
    XZ("xz", "fd377a585a00", in -> new XZInputStream(in, MAX_XZ_KIB)),

    /** A level, and the beginning of a block or of the end: bzip2 1.0.8, compress.c. */
    BZIP2("bzip2", "425a683[1-9](3141|1772)", in -> new BZip2CompressorInputStream(in, true));

    final String title;
    final Pattern magic;
    final Opener opener;

    /**
     * @param magic the first bytes in hexadecimal digits
     */
    Format(String title, String magic, Opener opener) {
      this.title = title;
      this.magic = Pattern.compile(magic + ".*");
      this.opener = opener;
    }

    static Optional<Format> of(byte[] start) {
      String digits = HexFormat.of().formatHex(start);
      return Arrays.stream(values()).filter(f -> f.magic.matcher(digits).matches()).findFirst();
    }
  }

  private final Format format;
  private final InputStream packed;

  /** Opened by the first read, because that may find the first fault. */
  private @Nullable InputStream in;

  @FunctionalInterface
  private interface Opener {
    InputStream open(InputStream packed) throws IOException;
  }

  private Decompression(Format format, InputStream packed) {
    this.format = format;
    this.packed = packed;
  }

  /** The content is no stream of the format in which it begins, or one beyond a limit. */
  static final class CorruptException extends IOException {
    private static final long serialVersionUID = 1L;

    CorruptException(String message, @Nullable Throwable cause) {
      super(message, cause);
    }

    /** Whether it may be well and takes more memory than is given to it. */
    boolean isLimit() {
      return getCause() instanceof Zstd.WindowException
          || getCause() instanceof MemoryLimitException;
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
    Optional<Format> format = Format.of(in.readNBytes(MAGIC_LENGTH));
    in.reset();
    return format.isPresent() ? new Decompression(format.get(), in) : in;
  }

  /**
   * How what begins with these {@link #MAGIC_LENGTH} bytes, or has no more, is compressed: as
   * "gzip"; empty where it is not.
   */
  public static Optional<String> format(byte[] start) {
    return Format.of(start).map(format -> format.title);
  }

  @Override
  public int read(byte[] bytes, int offset, int length) throws IOException {
    try {
      if (in == null) {
        in = format.opener.open(packed);
      }
      return in.read(bytes, offset, length);
    } catch (VerifyingInputStream.SourceException | NacelleException e) {
      throw e;
    } catch (Zstd.WindowException e) {
      throw new CorruptException("its zstd stream " + e.getMessage(), e);
    } catch (MemoryLimitException e) {
      throw new CorruptException(
          "its xz stream needs more memory than the limit of " + (MAX_XZ_KIB >> 10) + " MiB", e);
    } catch (IOException | RuntimeException e) {
      // Decoders report bad content by exceptions of either kind.
      throw new CorruptException(
          "its " + format.title + " stream is corrupt: " + e.getMessage(), e);
    }
  }

  @Override
  public void close() throws IOException {
    if (in != null) {
      in.close();
    }
  }
}
