// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.NacelleException;
import dev.nacelle.internal.Zstd;
import java.io.BufferedInputStream;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.HexFormat;
import java.util.zip.GZIPInputStream;
import org.tukaani.xz.XZInputStream;

/**
 * Compressed streams that are told apart by the end of a file's name, as package members and kernel
 * modules are.
 */
final class Compressed {
  /** What the XZ decoder may use, in KiB; the largest preset, -9, needs 65 MiB. */
  private static final int XZ_MEMORY_LIMIT = 160 << 10;

  private static final int MAGIC = 4;

  private Compressed() {}

  /**
   * The unpacked content.
   *
   * @param name the file's name; without a known ending the content is taken as it is
   * @param plain the name's end when it is not compressed, such as ".ko"
   * @throws KernelException when it is compressed in another way
   */
  static InputStream open(String name, String plain, InputStream in) throws IOException {
    String ending = name.substring(name.lastIndexOf(plain) + plain.length());
    return switch (ending) {
      case "" -> in;
      case ".gz" -> new GZIPInputStream(in, 1 << 16);
      case ".xz" -> new XZInputStream(in, XZ_MEMORY_LIMIT);
      case ".zst" -> Zstd.open(in);
      default ->
          throw new KernelException(
              KernelException.Reason.UNSUPPORTED,
              name + " is compressed in a way that is not supported (gz, xz and zst are)",
              null,
              null);
    };
  }

  /** The unpacked content of a tar archive, told by its first bytes how it is compressed. */
  static InputStream openTar(InputStream file) throws IOException {
    BufferedInputStream in = new BufferedInputStream(file, 1 << 16);
    in.mark(MAGIC);
    String magic = HexFormat.of().formatHex(in.readNBytes(MAGIC));
    in.reset();
    String ending =
        magic.startsWith("1f8b")
            ? ".gz"
            : magic.startsWith("fd377a58") ? ".xz" : magic.startsWith("28b52ffd") ? ".zst" : "";
    return open(".tar" + ending, ".tar", in);
  }

  /**
   * Reads everything, when it is at most that much.
   *
   * @param where what to call it in errors
   * @throws KernelException when there is more, or the content is damaged
   */
  static byte[] readAll(String where, String plain, byte[] content, int limit) throws IOException {
    try (InputStream in = open(where, plain, new ByteArrayInputStream(content))) {
      byte[] all = in.readNBytes(limit);
      if (in.read() >= 0) {
        throw new KernelException(
            KernelException.Reason.TOO_LARGE,
            where + " unpacks to more than " + limit + " bytes",
            null,
            null);
      }
      return all;
    } catch (IOException | RuntimeException e) {
      if (e instanceof NacelleException) {
        throw e;
      }
      // In memory, so it is the content; decoders report it by exceptions of either kind.
      throw new KernelException(
          KernelException.Reason.DAMAGED, where + " is damaged: " + e.getMessage(), null, e);
    }
  }
}
