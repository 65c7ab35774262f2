// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.image.testing.FuzzedImages;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.Callable;

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

  @FuzzTest(maxDuration = "5m")
  void whateverIsDoneOthersCanStartFromCheckpoints(FuzzedDataProvider data) throws IOException {
    Path image = Files.createTempFile("nacelle-fuzz", ".ext4");
    Path other = Files.createTempFile("nacelle-fuzz", ".ext4");
    try {
      List<Checkpoint> checkpoints =
          RandomTree.writeWithCheckpoints(image, new Chosen(data), data.consumeInt(1, 3));
      FuzzedImages.check(image);
      for (Checkpoint checkpoint : checkpoints) {
        RandomTree.extend(image, checkpoint, other, new Chosen(data));
        FuzzedImages.check(other);
      }
    } finally {
      Files.delete(image);
      Files.delete(other);
    }
  }

  @FuzzTest(maxDuration = "5m")
  void aDamagedImageIsAnErrorOrATree(FuzzedDataProvider data) throws IOException {
    Path image = Files.createTempFile("nacelle-fuzz", ".ext4");
    Path other = Files.createTempFile("nacelle-fuzz", ".ext4");
    try {
      List<Checkpoint> checkpoints = RandomTree.writeWithCheckpoints(image, new Random(3), 1);
      byte[] bytes = Files.readAllBytes(image);
      while (data.remainingBytes() > 0) {
        bytes[data.consumeInt(0, bytes.length - 1)] = data.consumeByte();
      }
      Files.write(image, bytes);
      Ext4Options options = Ext4Options.of(new UUID(1, 2));
      assertReadOrRefused(() -> Ext4Writer.extend(image, other, options));
      assertReadOrRefused(() -> Ext4Writer.extend(image, checkpoints.get(0), other, options));
    } finally {
      Files.delete(image);
      Files.delete(other);
    }
  }

  private static void assertReadOrRefused(Callable<Ext4Writer> extend) throws IOException {
    try {
      extend.call().close();
    } catch (Ext4ImageException refused) {
      // As it should be.
    } catch (IOException | RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new AssertionError(e);
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
