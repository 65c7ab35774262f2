// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import dev.nacelle.image.ext4.Ext4LimitException;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarException;
import dev.nacelle.image.tar.TarReader;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * Unpacks the layers of one image into one ext4 filesystem, in one pass: from the blob through
 * decompression and tar to the blocks of the image, with both digests taken on the way.
 */
final class ImageBuilder {
  /** Changes when the same layers would give another filesystem. */
  static final int FORMAT = 1;

  private final BlobSource source;
  private final Manifest manifest;
  private final ImageLimits limits;
  private final UnpackedInputStream.Budget budget;

  ImageBuilder(BlobSource source, Manifest manifest, ImageLimits limits) {
    this.source = source;
    this.manifest = manifest;
    this.limits = limits;
    this.budget = new UnpackedInputStream.Budget(limits.unpackedSize());
  }

  /**
   * Writes the filesystem.
   *
   * @param base the filesystem of the first layers, or null
   * @param done how many layers that is
   * @throws ImageException when a layer is damaged, or not what it should be
   * @throws dev.nacelle.image.ext4.Ext4ImageException when base is damaged
   */
  void build(Path file, @Nullable Path base, int done) throws IOException {
    Ext4Options options = Ext4Options.of(uuid());
    try (Ext4Writer writer =
        base == null ? Ext4Writer.create(file, options) : Ext4Writer.extend(base, file, options)) {
      LayerApplier applier = new LayerApplier(writer, limits);
      for (int i = done; i < manifest.layers().size(); i++) {
        unpack(manifest.layers().get(i), manifest.diffIds().get(i), i + 1, applier);
      }
      try {
        writer.finish();
      } catch (Ext4LimitException e) {
        throw new ImageException("The image is too large: " + e.getMessage(), null, e);
      }
    }
  }

  /** The same layers have the same UUID, of version 8 of RFC 9562: bits of our own choice. */
  private UUID uuid() {
    byte[] chainId = manifest.chainId().toString().getBytes(StandardCharsets.US_ASCII);
    ByteBuffer bits = ByteBuffer.wrap(Digest.Algorithm.SHA256.newMessageDigest().digest(chainId));
    return new UUID(
        (bits.getLong() & ~0xF000L) | 0x8000L, (bits.getLong() & ~(3L << 62)) | 2L << 62);
  }

  private void unpack(Descriptor layer, Digest diffId, int number, LayerApplier applier)
      throws IOException {
    try (VerifyingInputStream blob =
        new VerifyingInputStream(source.open(layer), layer, source.toString())) {
      try {
        apply(blob, layer.mediaType(), diffId, applier);
      } catch (LayerException e) {
        try {
          // A damaged blob can look like anything; that it is damaged is what helps.
          blob.verify();
        } catch (ImageException damaged) {
          damaged.addSuppressed(e);
          throw damaged;
        }
        throw new ImageException(
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

  /** Something is wrong with what a layer holds; the message continues the name of the layer. */
  private static final class LayerException extends Exception {
    private static final long serialVersionUID = 1L;

    LayerException(String message, @Nullable Throwable cause) {
      super(message, cause);
    }
  }

  private void apply(
      VerifyingInputStream blob, String mediaType, Digest diffId, LayerApplier applier)
      throws IOException, LayerException {
    @Nullable TarReader tar = null;
    String position = "";
    try {
      UnpackedInputStream unpacked =
          new UnpackedInputStream(Decompression.open(blob, mediaType), diffId.algorithm(), budget);
      tar = new TarReader(unpacked, (int) limits.headerSize().bytes());
      for (TarEntry entry; (entry = tar.next()) != null; ) {
        position = ", entry '" + entry + "'";
        applier.apply(entry, tar.content());
        position = ", behind entry '" + entry + "'";
      }
      tar = null;
      applier.endLayer();
      position = "";
      unpacked.transferTo(OutputStream.nullOutputStream());
      Digest actual = unpacked.digest();
      if (!actual.equals(diffId)) {
        throw new LayerException(
            ": unpacked it has the digest " + actual + ", its diff_id is " + diffId, null);
      }
    } catch (TarException
        | Decompression.CorruptException
        | Ext4LimitException
        | IllegalArgumentException e) {
      String offset = tar == null ? "" : ", at byte " + tar.offset() + " of the archive";
      throw new LayerException(position + offset + ": " + e.getMessage(), e);
    }
  }
}
