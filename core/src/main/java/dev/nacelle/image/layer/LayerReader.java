// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.layer;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ext4.Ext4LimitException;
import dev.nacelle.image.oci.BlobSource;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.oci.Manifest;
import dev.nacelle.image.oci.VerifyingInputStream;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarException;
import dev.nacelle.image.tar.TarReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import org.jspecify.annotations.Nullable;

/**
 * Reads the layers of one image, the lowest first: from the blob through decompression and tar to
 * whoever takes the entries, with both digests taken and verified on the way.
 */
public final class LayerReader {
  private final BlobSource source;
  private final Manifest manifest;
  private final ImageLimits limits;
  private final UnpackedInputStream.Budget budget;

  /** Takes the entries of layers. What it was given holds only once the reader has returned. */
  public interface Sink {
    /**
     * Takes an entry.
     *
     * @param content of a regular file; not valid later
     * @throws IllegalArgumentException when the entry cannot be, saying why
     */
    void apply(TarEntry entry, InputStream content) throws IOException;

    /** All entries of a layer were given. */
    void endLayer() throws IOException;
  }

  public LayerReader(BlobSource source, Manifest manifest, ImageLimits limits) {
    this.source = source;
    this.manifest = manifest;
    this.limits = limits;
    this.budget = new UnpackedInputStream.Budget(limits.unpackedSize());
  }

  /**
   * Reads all layers from that one on, counted from 0.
   *
   * @throws ImageException when a layer is damaged, or not what it should be
   */
  public void read(int from, Sink sink) throws IOException {
    for (int i = from; i < manifest.layers().size(); i++) {
      unpack(manifest.layers().get(i), manifest.diffIds().get(i), i + 1, sink);
    }
  }

  private void unpack(Descriptor layer, Digest diffId, int number, Sink sink) throws IOException {
    try (VerifyingInputStream blob =
        new VerifyingInputStream(source.open(layer), layer, source.toString())) {
      try {
        apply(blob, diffId, sink);
      } catch (LayerException e) {
        try {
          // A damaged blob can look like anything; that it is damaged is what helps.
          blob.verify();
        } catch (ImageException damaged) {
          damaged.addSuppressed(e);
          throw damaged;
        }
        throw new ImageException(
            e.reason,
            "Layer "
                + number
                + " of "
                + manifest.layers().size()
                + " ("
                + layer.digest()
                + ")"
                + e.getMessage(),
            null,
            e);
      }
      blob.verify();
    }
  }

  /** An entry cannot be, because it is larger than a limit. */
  static final class LimitException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    LimitException(String message) {
      super(message);
    }
  }

  /** Something is wrong with what a layer holds; the message continues the name of the layer. */
  private static final class LayerException extends Exception {
    private static final long serialVersionUID = 1L;

    private final ImageException.Reason reason;

    LayerException(String message, @Nullable Throwable cause) {
      super(message, cause);
      this.reason =
          cause instanceof Ext4LimitException
                  || cause instanceof LimitException
                  || cause instanceof Decompression.CorruptException corrupt && corrupt.isLimit()
              ? ImageException.Reason.TOO_LARGE
              : ImageException.Reason.DAMAGED;
    }
  }

  private void apply(VerifyingInputStream blob, Digest diffId, Sink sink)
      throws IOException, LayerException {
    try (UnpackedInputStream unpacked =
        new UnpackedInputStream(Decompression.open(blob), diffId.algorithm(), budget)) {
      readArchive(unpacked, sink);
      sink.endLayer();
      unpacked.transferTo(OutputStream.nullOutputStream());
      Digest actual = unpacked.digest();
      if (!actual.equals(diffId)) {
        throw new LayerException(
            ": unpacked it has the digest " + actual + ", its diff_id is " + diffId, null);
      }
    } catch (Decompression.CorruptException | Ext4LimitException e) {
      throw new LayerException(": " + e.getMessage(), e);
    }
  }

  private void readArchive(InputStream unpacked, Sink sink) throws IOException, LayerException {
    TarReader tar = new TarReader(unpacked, (int) limits.headerSize().bytes());
    String position = "";
    try {
      for (TarEntry entry; (entry = tar.next()) != null; ) {
        position = ", entry '" + entry + "'";
        sink.apply(entry, tar.content());
        position = ", behind entry '" + entry + "'";
      }
    } catch (TarException
        | Decompression.CorruptException
        | Ext4LimitException
        | IllegalArgumentException e) {
      throw new LayerException(
          position + ", at byte " + tar.offset() + " of the archive: " + e.getMessage(), e);
    }
  }
}
