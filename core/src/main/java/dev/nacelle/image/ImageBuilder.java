// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import dev.nacelle.image.ext4.Ext4LimitException;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4Writer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/** Unpacks the layers of one image into one ext4 filesystem, in one pass. */
final class ImageBuilder {
  /** Changes when the same layers would give another filesystem. */
  static final int FORMAT = 1;

  private final BlobSource source;
  private final Manifest manifest;
  private final ImageLimits limits;

  ImageBuilder(BlobSource source, Manifest manifest, ImageLimits limits) {
    this.source = source;
    this.manifest = manifest;
    this.limits = limits;
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
      new LayerReader(source, manifest, limits).read(done, new LayerApplier(writer, limits));
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
}
