// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.DataSize;
import dev.nacelle.ImageException;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.ext4.Ext4LimitException;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.layer.LayerApplier;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.oci.Manifest;
import dev.nacelle.image.oci.MediaTypes;
import dev.nacelle.image.oci.OciJson;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarException;
import dev.nacelle.image.tar.TarReader;
import dev.nacelle.image.testing.FuzzedImages;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.UUID;

/**
 * Whatever an image holds ends as a tree or as an error that is meant; see {@link FuzzedImages} for
 * how to fuzz.
 */
class ImageFuzzTest {
  private static final ImageLimits LIMITS =
      new ImageLimits(
          DataSize.mebibytes(1),
          10,
          1_000,
          DataSize.mebibytes(1),
          4_096,
          DataSize.kibibytes(64),
          DataSize.mebibytes(16));

  @FuzzTest(maxDuration = "5m")
  void anArchiveBecomesATreeOrAnError(byte[] archive) throws IOException {
    repairChecksums(archive);
    Path file = Files.createTempFile("nacelle-fuzz", ".ext4");
    try (Ext4Writer writer = Ext4Writer.create(file, Ext4Options.of(new UUID(1, 2)))) {
      LayerApplier applier = new LayerApplier(writer, LIMITS);
      // Twice: as the first layer, and over itself.
      for (int layer = 0; layer < 2; layer++) {
        TarReader tar = new TarReader(new ByteArrayInputStream(archive), 64 << 10);
        for (TarEntry entry; (entry = tar.next()) != null; ) {
          applier.apply(entry, tar.content());
        }
        applier.endLayer();
      }
      writer.finish();
      FuzzedImages.check(file);
    } catch (TarException
        | Ext4LimitException
        | IllegalArgumentException
        | ImageException expected) {
      // said to be wrong
    } finally {
      Files.delete(file);
    }
  }

  /** A fuzzer does not guess checksums, so it would never get behind a header that it changed. */
  private static void repairChecksums(byte[] archive) {
    for (int block = 0; block + 512 <= archive.length; block += 512) {
      String magic = new String(archive, block + 257, 5, StandardCharsets.ISO_8859_1);
      if (magic.equals("ustar")) {
        Arrays.fill(archive, block + 148, block + 156, (byte) ' ');
        int sum = 0;
        for (int i = block; i < block + 512; i++) {
          sum += archive[i] & 0xFF;
        }
        byte[] digits = String.format(Locale.ROOT, "%06o", sum).getBytes(StandardCharsets.US_ASCII);
        System.arraycopy(digits, 0, archive, block + 148, digits.length);
      }
    }
  }

  @FuzzTest(maxDuration = "5m")
  void documentsAreReadOrRefused(byte[] document) {
    try {
      OciJson json = OciJson.parse(document, "The document");
      Descriptor descriptor = new Descriptor("x", Digests.sha256("x"), 0, null, Map.of());
      Manifest.Parts parts = Manifest.parse(json, MediaTypes.MANIFEST, LIMITS);
      Manifest.of(descriptor, parts, json, Platform.LINUX_AMD64).chainId();
    } catch (ImageException expected) {
      // said to be wrong
    }
  }

  @FuzzTest(maxDuration = "5m")
  void indexesAreReadOrRefused(byte[] document) {
    try {
      List<OciJson> manifests = OciJson.parse(document, "The document").objects("manifests");
      manifests.forEach(Descriptor::parse);
    } catch (ImageException expected) {
      // said to be wrong
    }
  }

  @FuzzTest(maxDuration = "5m")
  void referencesAreReadOrRefused(byte[] text) {
    try {
      ImageRef ref = ImageRef.parse(new String(text, StandardCharsets.UTF_8));
      if (!ref.equals(ImageRef.parse(ref.toString()))) {
        throw new AssertionError("not the same when read again: " + ref);
      }
    } catch (IllegalArgumentException expected) {
      // said to be wrong
    }
  }
}
