// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.internal.BlockInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;

/**
 * A blob on its way to somebody who cannot trust it: {@link #verify} says whether what was read is
 * what the descriptor promised, and more than was promised is never read.
 */
public final class VerifyingInputStream extends BlockInputStream {
  private final InputStream in;
  private final Descriptor blob;
  private final String where;
  private final MessageDigest digest;
  private long count;

  /** The place where blobs come from failed; nothing is known of the blob. */
  public static final class SourceException extends IOException {
    private static final long serialVersionUID = 1L;

    SourceException(String message, IOException cause) {
      super(message, cause);
    }
  }

  /**
   * Verifies a stream.
   *
   * @param where what to call the source in errors
   */
  public VerifyingInputStream(InputStream in, Descriptor blob, String where) {
    this.in = in;
    this.blob = blob;
    this.where = where;
    this.digest = blob.digest().algorithm().newMessageDigest();
  }

  /** The whole of a blob that is small enough to be kept in memory. */
  static byte[] readAll(BlobSource source, Descriptor blob) throws IOException {
    try (VerifyingInputStream in =
        new VerifyingInputStream(source.open(blob), blob, source.toString())) {
      byte[] bytes = in.readAllBytes();
      in.verify();
      return bytes;
    }
  }

  @Override
  public int read(byte[] bytes, int offset, int length) throws IOException {
    int read;
    try {
      read = in.read(bytes, offset, length);
    } catch (IOException e) {
      throw new SourceException("the blob " + blob.digest() + " of " + where + ": " + e, e);
    }
    if (read > 0) {
      digest.update(bytes, offset, read);
      count += read;
      if (count > blob.size()) {
        throw mismatch("it has more than the " + blob.size() + " bytes of its descriptor");
      }
    }
    return read;
  }

  @Override
  public void close() throws IOException {
    in.close();
  }

  /**
   * Reads what is left, and compares.
   *
   * @throws ImageException when it is not what the descriptor promised
   */
  public void verify() throws IOException {
    byte[] sink = new byte[1 << 16];
    while (read(sink, 0, sink.length) >= 0) {
      // read() digests
    }
    if (count < blob.size()) {
      throw mismatch("it has " + count + " bytes, its descriptor says " + blob.size());
    }
    Digest actual = Digests.ofValue(blob.digest().algorithm(), digest.digest());
    if (!actual.equals(blob.digest())) {
      throw mismatch("its content has the digest " + actual);
    }
  }

  private ImageException mismatch(String fault) {
    return new DamagedBlobException(
        blob, "The blob " + blob.digest() + " of " + where + " is damaged: " + fault);
  }
}
