// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.image.testing.FuzzedImages;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** The writer under operations that a fuzzer chooses; see {@link FuzzedImages} for how to fuzz. */
class Ext4FuzzTest {
  @FuzzTest(maxDuration = "5m")
  void whateverIsDoneTheFilesystemIsClean(FuzzedDataProvider data) throws IOException {
    Path image = Files.createTempFile("nacelle-fuzz", ".ext4");
    try {
      RandomTree.write(image, new Chosen(data));
      FuzzedImages.check(image);
    } finally {
      Files.delete(image);
    }
  }

  /** All of Random's methods come down to this one. */
  private static final class Chosen extends Random {
    private static final long serialVersionUID = 1L;
    private final transient FuzzedDataProvider data;

    Chosen(FuzzedDataProvider data) {
      super(0);
      this.data = data;
    }

    @Override
    protected int next(int bits) {
      // Fewer bytes for small numbers, so that the fuzzer's changes are felt.
      return bits <= 8 ? data.consumeByte() & (1 << bits) - 1 : data.consumeInt() >>> (32 - bits);
    }
  }
}
