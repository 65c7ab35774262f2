// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * What the fuzz tests have in common. Without more they run over their corpus in the test resources
 * only. To fuzz one of them in earnest, for as long as its annotation says, from the project's
 * directory:
 *
 * <pre>{@code
 * JAZZER_FUZZ=1 mvn -pl core -am test -Dsurefire.failIfNoSpecifiedTests=false \
 *   -Djazzer.hooks=true -Dtest='ImageFuzzTest#anArchiveBecomesATreeOrAnError'
 * }</pre>
 *
 * <p>What it finds it leaves as a file beside the corpus; it belongs there, with the fix. What it
 * tried stays in {@code core/.cifuzz-corpus}: {@code com.code_intelligence.jazzer.Jazzer} with
 * {@code -merge=1 -use_counters=0} and the corpus in front takes over what reaches more code, which
 * belongs there, too.
 */
public final class FuzzedImages {
  private static final boolean FUZZING = System.getenv("JAZZER_FUZZ") != null;

  /** A process takes longer than writing most images, so only some are checked while fuzzing. */
  private static final int CHECK_ONE_OF = 16;

  private static final AtomicInteger IMAGES = new AtomicInteger();

  private FuzzedImages() {}

  /** Fails where e2fsck would change anything; while fuzzing, for some images only. */
  public static void check(Path image) {
    if (!FUZZING || IMAGES.getAndIncrement() % CHECK_ONE_OF == 0) {
      MountedImage.check(image);
    }
  }
}
