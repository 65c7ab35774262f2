// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.NacelleException;
import dev.nacelle.internal.Zstd;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.zip.GZIPInputStream;
import org.apache.commons.compress.compressors.bzip2.BZip2CompressorInputStream;
import org.jspecify.annotations.Nullable;
import org.tukaani.xz.LZMAInputStream;
import org.tukaani.xz.SingleXZInputStream;

/**
 * Unpacks the compressed kernel inside a bzImage, on the host and once, so that no guest spends its
 * boot on it. The format is told from its magic, as the boot protocol says (payload_offset); the
 * last four bytes of the payload are the unpacked size, little-endian (the kernel's
 * arch/x86/boot/compressed/mkpiggy.c reads them there), which bounds the output.
 */
final class KernelPayload {
  /** Largest unpacked kernel, in bytes: ten times the largest that distributions ship. */
  static final int MAX_UNPACKED = 1 << 30;

  /** Block size of LZ4's legacy frame, in bytes, unpacked (LZ4 Frame Format, "Legacy frame"). */
  private static final int LZ4_LEGACY_BLOCK = 8 << 20;

  /**
   * What the XZ and LZMA decoders may use, in KiB: kernels are packed with a dictionary of 32 MiB,
   * newer ones of 128 MiB (scripts/xz_wrap.sh).
   */
  private static final int MEMORY_LIMIT = 160 << 10;

  private static final int TRAILER = 4;

  private enum Format {
    GZIP("1f8b08"),
    XZ("fd377a585a00"),
    LZ4("02214c18"),
    ZSTD("28b52ffd"),
    BZIP2("425a68"),
    LZMA("5d0000"),
    LZO("894c5a4f");

    private final String magic;

    Format(String magic) {
      this.magic = magic;
    }

    static @Nullable Format of(byte[] payload) {
      String start = HexFormat.of().formatHex(payload, 0, Math.min(8, payload.length));
      return Arrays.stream(values())
          .filter(format -> start.startsWith(format.magic))
          .findFirst()
          .orElse(null);
    }
  }

  /** Makes a decompressor; one that finds its input damaged throws exceptions of either kind. */
  private interface Decompressor {
    InputStream open(InputStream in) throws IOException;
  }

  /** What is wrong with the data, before it is known what to call it. */
  private static final class DamagedException extends IOException {
    private static final long serialVersionUID = 1L;

    DamagedException(String message) {
      super(message);
    }

    DamagedException(Exception cause) {
      super(
          cause instanceof EOFException || cause instanceof BufferUnderflowException
              ? "it ends too early"
              : cause.getMessage() == null ? cause.toString() : cause.getMessage(),
          cause);
    }
  }

  private KernelPayload() {}

  /**
   * Unpacks a payload into an empty file.
   *
   * @param name what to call the bzImage in errors
   * @throws KernelException when the payload is damaged, in an unknown format, or not of the size
   *     it claims
   */
  static void unpack(String name, byte[] payload, Path file) throws IOException {
    Format format = Format.of(payload);
    if (format == null) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name
              + ": the compressed kernel starts with "
              + HexFormat.ofDelimiter(" ").formatHex(payload, 0, Math.min(6, payload.length))
              + ", which is no known compression format",
          null,
          null);
    }
    int length = payload.length - TRAILER;
    long size =
        Integer.toUnsignedLong(
            ByteBuffer.wrap(payload).order(ByteOrder.LITTLE_ENDIAN).getInt(length));
    if (size == 0 || size > MAX_UNPACKED) {
      throw new KernelException(
          KernelException.Reason.TOO_LARGE,
          name + ": claims to unpack to " + size + " bytes; at most " + MAX_UNPACKED + " are taken",
          null,
          null);
    }
    try {
      switch (format) {
        // gzip's own trailer ends with the size (RFC 1952, ISIZE), so nothing was appended to it.
        case GZIP -> copy(GZIPInputStream::new, payload, payload.length, file, size);
        case BZIP2 -> copy(BZip2CompressorInputStream::new, payload, length, file, size);
        case LZMA -> copy(in -> new LZMAInputStream(in, MEMORY_LIMIT), payload, length, file, size);
        case XZ ->
            copy(in -> new SingleXZInputStream(in, MEMORY_LIMIT), payload, length, file, size);
        case LZ4 -> unpackLz4(payload, length, file, size);
        case ZSTD -> copy(Zstd::open, payload, length, file, size);
        case LZO -> unpackLzo(payload, length, file, size);
      }
    } catch (Zstd.WindowException e) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + ": the kernel's " + format + " data " + e.getMessage(),
          "Pack it with at most zstd --ultra -22, as Linux does.",
          e);
    } catch (DamagedException e) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          name + ": the kernel's " + format + " data is damaged: " + e.getMessage(),
          "Fetch the file again.",
          e);
    }
  }

  private static void copy(
      Decompressor decompressor, byte[] payload, int length, Path file, long size)
      throws IOException {
    byte[] buffer = new byte[1 << 16];
    long total = 0;
    try (OutputStream out = Files.newOutputStream(file);
        InputStream in = open(decompressor, new ByteArrayInputStream(payload, 0, length))) {
      for (int n; (n = read(in, buffer)) >= 0; ) {
        total += n;
        requireAtMost(total, size);
        out.write(buffer, 0, n);
      }
    }
    requireExactly(total, size);
  }

  private static InputStream open(Decompressor decompressor, InputStream in)
      throws DamagedException {
    try {
      return decompressor.open(in);
    } catch (NacelleException e) {
      throw e;
    } catch (IOException | RuntimeException e) {
      throw new DamagedException(e);
    }
  }

  private static int read(InputStream in, byte[] buffer) throws IOException {
    try {
      return in.read(buffer);
    } catch (Zstd.WindowException e) {
      throw e;
    } catch (IOException | RuntimeException e) {
      throw new DamagedException(e);
    }
  }

  private static void unpackLz4(byte[] payload, int length, Path file, long size)
      throws IOException {
    ByteBuffer in = ByteBuffer.wrap(payload, 0, length).order(ByteOrder.LITTLE_ENDIAN);
    in.position(4);
    byte[] block = new byte[(int) Math.min(LZ4_LEGACY_BLOCK, size)];
    long total = 0;
    try (OutputStream out = Files.newOutputStream(file)) {
      while (in.remaining() >= 4) {
        int packed = in.getInt();
        if (packed <= 0 || packed > in.remaining()) {
          throw new DamagedException(
              String.format(
                  "at 0x%x a block of 0x%x bytes starts, where 0x%x are left",
                  in.position(), packed, in.remaining()));
        }
        int n;
        try {
          n = LzBlock.lz4(payload, in.position(), packed, block);
        } catch (IOException e) {
          throw new DamagedException(e);
        }
        total += n;
        requireAtMost(total, size);
        out.write(block, 0, n);
        in.position(in.position() + packed);
      }
    }
    requireExactly(total, size);
  }

  private static void unpackLzo(byte[] payload, int length, Path file, long size)
      throws IOException {
    long total = 0;
    try (OutputStream out = Files.newOutputStream(file)) {
      LzopReader lzop = lzop(payload, length);
      for (byte[] block; (block = next(lzop, size - total)) != null; ) {
        total += block.length;
        out.write(block);
      }
    }
    requireExactly(total, size);
  }

  private static LzopReader lzop(byte[] payload, int length) throws DamagedException {
    try {
      return new LzopReader(ByteBuffer.wrap(payload, 0, length));
    } catch (IOException | RuntimeException e) {
      throw new DamagedException(e);
    }
  }

  private static byte @Nullable [] next(LzopReader lzop, long max) throws DamagedException {
    try {
      return lzop.next(max);
    } catch (IOException | RuntimeException e) {
      throw new DamagedException(e);
    }
  }

  private static void requireAtMost(long size, long claimed) throws DamagedException {
    if (size > claimed) {
      throw new DamagedException("it unpacks to more than the " + claimed + " bytes it claims");
    }
  }

  private static void requireExactly(long size, long claimed) throws DamagedException {
    if (size != claimed) {
      throw new DamagedException("it unpacks to " + size + " bytes and claims " + claimed);
    }
  }
}
