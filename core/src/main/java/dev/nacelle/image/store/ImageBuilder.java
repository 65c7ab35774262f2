// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ext4.Checkpoint;
import dev.nacelle.image.ext4.Ext4LimitException;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.layer.LayerApplier;
import dev.nacelle.image.layer.LayerReader;
import dev.nacelle.image.oci.BlobSource;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.oci.Manifest;
import dev.nacelle.image.tar.TarEntry;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/** Unpacks the layers of one image into one ext4 filesystem, in one pass. */
final class ImageBuilder {
  /** Changes when the same layers would give another filesystem. */
  static final int FORMAT = 4;

  private final BlobSource source;
  private final Manifest manifest;
  private final ImageLimits limits;

  /** What other images may have in common with this one, by chain ID. */
  private final Map<Digest, Checkpoint> parts = new LinkedHashMap<>();

  /** What was written up to the end of the last checkpoint, and what that took, in bytes. */
  private long covered;

  private long lastCheckpointSize;

  /** What another image's filesystem can be built on. */
  @FunctionalInterface
  interface Base {
    Ext4Writer extend(Path file, Ext4Options options) throws IOException;
  }

  ImageBuilder(BlobSource source, Manifest manifest, ImageLimits limits) {
    this.source = source;
    this.manifest = manifest;
    this.limits = limits;
  }

  /**
   * Writes the filesystem, with a list of the parts that others can be built on.
   *
   * @param base what has the first layers, or null
   * @param done how many layers that is
   * @throws ImageException when a layer is damaged, or not what it should be
   * @throws dev.nacelle.image.ext4.Ext4ImageException when base is damaged
   */
  void build(Path file, @Nullable Base base, int done) throws IOException {
    Ext4Options options = Ext4Options.of(uuid());
    try (Ext4Writer writer =
        base == null ? Ext4Writer.create(file, options) : base.extend(file, options)) {
      if (base != null) {
        offerPart(writer, done);
      }
      new LayerReader(source, manifest, limits).read(done, layers(writer, done));
      writer.setBootArea(SharedParts.encode(parts));
      try {
        writer.finish();
      } catch (Ext4LimitException e) {
        throw new ImageException(
            ImageException.Reason.TOO_LARGE, "The image is too large: " + e.getMessage(), null, e);
      }
    }
  }

  /**
   * Makes a checkpoint where what came since the last one outweighs it, so that all together are no
   * more than the rest of the filesystem, whatever the layers are.
   */
  private void offerPart(Ext4Writer writer, int layers) throws IOException {
    long before = writer.written();
    long size = Math.max(writer.checkpointSize(), lastCheckpointSize);
    if (parts.size() < SharedParts.MAX && before - covered >= size) {
      parts.put(manifest.chainId(layers), writer.checkpoint());
      covered = writer.written();
      lastCheckpointSize = covered - before;
    }
  }

  /** Applies layers, and offers what is there between each two. */
  private LayerReader.Sink layers(Ext4Writer writer, int done) {
    LayerApplier applier = new LayerApplier(writer, limits);
    return new LayerReader.Sink() {
      private int layers = done;

      @Override
      public void apply(TarEntry entry, InputStream content) throws IOException {
        applier.apply(entry, content);
      }

      @Override
      public void endLayer() throws IOException {
        applier.endLayer();
        if (++layers < manifest.layers().size()) {
          offerPart(writer, layers);
        }
      }
    };
  }

  /** The same layers have the same UUID, of version 8 of RFC 9562: bits of our own choice. */
  private UUID uuid() {
    byte[] chainId = manifest.chainId().toString().getBytes(StandardCharsets.US_ASCII);
    ByteBuffer bits = ByteBuffer.wrap(Digest.Algorithm.SHA256.newMessageDigest().digest(chainId));
    return new UUID(
        (bits.getLong() & ~0xF000L) | 0x8000L, (bits.getLong() & ~(3L << 62)) | 2L << 62);
  }
}
