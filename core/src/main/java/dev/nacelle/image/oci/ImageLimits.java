// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.DataSize;

/**
 * How much of an image is too much: an image is what somebody else made, and a small one can unpack
 * to anything.
 *
 * <p>Besides these there are the limits of {@linkplain dev.nacelle.image.ext4 the filesystem}: an
 * image of which a file has more than about 4,000 bytes of extended attributes is refused, too.
 *
 * @param jsonSize of an index, manifest or configuration; 4 MiB by default, as registries have it
 * @param layers 1,000 by default
 * @param entries files, directories and so on in all layers, those included that the layers do not
 *     name; 2,000,000 by default. Each takes about 300 bytes of heap while the image is built.
 * @param metadataSize names, targets of links, extended attributes and maps of sparse files in all
 *     layers, which are on the heap too; 256 MiB by default
 * @param pathBytes of one path; 4,096 by default, as Linux has it
 * @param headerSize of the extended headers of one entry; 1 MiB by default, as Go's tar has it
 * @param unpackedSize of all layers, before the image is written; 64 GiB by default
 */
public record ImageLimits(
    DataSize jsonSize,
    int layers,
    int entries,
    DataSize metadataSize,
    int pathBytes,
    DataSize headerSize,
    DataSize unpackedSize) {
  /** What is read into one array, at most; in front of DEFAULT, which is checked against it. */
  private static final DataSize MAX_ARRAY = DataSize.gibibytes(1);

  /** The defaults. */
  public static final ImageLimits DEFAULT =
      new ImageLimits(
          DataSize.mebibytes(4),
          1_000,
          2_000_000,
          DataSize.mebibytes(256),
          4_096,
          DataSize.mebibytes(1),
          DataSize.gibibytes(64));

  /**
   * Checks that they can be kept.
   *
   * @throws IllegalArgumentException when a number is not positive, or jsonSize or headerSize is
   *     above 1 GiB
   */
  public ImageLimits {
    if (layers <= 0 || entries <= 0 || pathBytes <= 0) {
      throw new IllegalArgumentException("a limit is not positive");
    }
    if (jsonSize.compareTo(MAX_ARRAY) > 0 || headerSize.compareTo(MAX_ARRAY) > 0) {
      throw new IllegalArgumentException("JSON and headers are at most " + MAX_ARRAY);
    }
  }

  /** These, with another limit on files, directories and so on. */
  public ImageLimits withEntries(int entries) {
    return new ImageLimits(
        jsonSize, layers, entries, metadataSize, pathBytes, headerSize, unpackedSize);
  }

  /** These, with another limit on what all layers unpack to. */
  public ImageLimits withUnpackedSize(DataSize unpackedSize) {
    return new ImageLimits(
        jsonSize, layers, entries, metadataSize, pathBytes, headerSize, unpackedSize);
  }
}
