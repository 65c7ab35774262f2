// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import com.github.luben.zstd.ZstdIOException;
import com.github.luben.zstd.ZstdInputStreamNoFinalizer;
import dev.nacelle.NacelleException;
import dev.nacelle.Stage;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;

/**
 * An unpacked Zstandard stream (RFC 8878): any number of frames, with skippable ones among them. It
 * is decoded by the reference library, whose memory is not the heap's, and is given back by {@link
 * #close}, which closes the source as well. Used by one thread.
 */
public final class Zstd extends FilterInputStream {
  /**
   * What the reference decoder takes unless it is told otherwise, and what {@code zstd --ultra -22}
   * needs, with which kernels are packed: 128 MiB.
   */
  private static final int MAX_WINDOW_LOG = 27;

  /** The level that zstd(1) calls its fastest of the ordinary ones. */
  private static final int FAST = 1;

  /** The library's number of ZSTD_error_frameParameter_windowTooLarge (zstd_errors.h). */
  private static final int WINDOW_TOO_LARGE = 16;

  /** A frame can be unpacked only with more memory than is given to it. */
  public static final class WindowException extends IOException {
    private static final long serialVersionUID = 1L;

    private WindowException(Throwable cause) {
      super(
          "needs a window of more than the limit of " + (1 << MAX_WINDOW_LOG - 20) + " MiB", cause);
    }
  }

  private Zstd(InputStream unpacked) {
    super(unpacked);
  }

  /**
   * Starts to unpack; nothing is read yet.
   *
   * @throws NacelleException when the library cannot be loaded
   */
  public static InputStream open(InputStream packed) throws IOException {
    try {
      return new Zstd(new ZstdInputStreamNoFinalizer(packed).setLongMax(MAX_WINDOW_LOG));
    } catch (LinkageError e) {
      throw notLoaded(e);
    }
  }

  /**
   * Packs into one frame, quickly rather than as small as can be.
   *
   * @throws NacelleException when the library cannot be loaded
   */
  public static byte[] pack(byte[] content) {
    try {
      return com.github.luben.zstd.Zstd.compress(content, FAST);
    } catch (LinkageError e) {
      throw notLoaded(e);
    }
  }

  private static NacelleException notLoaded(LinkageError e) {
    return new NacelleException(
        Stage.HOST,
        "The library for Zstandard, zstd-jni, cannot be loaded: " + e.getMessage(),
        "Make the directory for temporary files executable, or set ZstdTempFolder to one that is.",
        e);
  }

  /**
   * Reads some.
   *
   * @throws WindowException when a frame needs too much memory
   * @throws IOException when the content is corrupt or ends early, and as the source throws
   */
  @Override
  public int read(byte[] bytes, int offset, int length) throws IOException {
    try {
      return super.read(bytes, offset, length);
    } catch (ZstdIOException e) {
      throw e.getErrorCode() == WINDOW_TOO_LARGE ? new WindowException(e) : e;
    }
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
  }
}
