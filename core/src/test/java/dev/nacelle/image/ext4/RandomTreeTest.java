// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import dev.nacelle.image.testing.MountedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Whatever is added, linked and removed in whatever order, e2fsck finds nothing to mend. */
class RandomTreeTest {
  @TempDir Path temp;

  static IntStream seeds() {
    return IntStream.range(0, 50);
  }

  @ParameterizedTest
  @MethodSource("seeds")
  void isCleanFor(int seed) throws IOException {
    Path image = temp.resolve("image");
    RandomTree.write(image, new Random(seed));
    MountedImage.check(image);
  }
}
