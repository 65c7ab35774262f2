// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.layer;

import dev.nacelle.DataSize;
import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.internal.BlockInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;

/** The tar archive of a layer on its way to a reader: counted against a limit, and digested. */
final class UnpackedInputStream extends BlockInputStream {
  private final InputStream in;
  private final MessageDigest digest;
  private final Digest.Algorithm algorithm;
  private final Budget budget;

  /** What all layers of an image may unpack to. */
  static final class Budget {
    private final DataSize limit;
    private long used;

    Budget(DataSize limit) {
      this.limit = limit;
    }
  }

  UnpackedInputStream(InputStream in, Digest.Algorithm algorithm, Budget budget) {
    this.in = in;
    this.algorithm = algorithm;
    this.digest = algorithm.newMessageDigest();
    this.budget = budget;
  }

  @Override
  public int read(byte[] bytes, int offset, int length) throws IOException {
    int read = in.read(bytes, offset, length);
    if (read > 0) {
      digest.update(bytes, offset, read);
      budget.used += read;
      if (budget.used > budget.limit.bytes()) {
        throw new ImageException(
            ImageException.Reason.TOO_LARGE,
            "The image unpacks to more than the limit of " + budget.limit,
            "Raise unpackedSize of the ImageLimits, if it may be that large.",
            null);
      }
    }
    return read;
  }

  @Override
  public void close() throws IOException {
    in.close();
  }

  /** The digest of all that was read. */
  Digest digest() {
    return Digests.ofValue(algorithm, digest.digest());
  }
}
