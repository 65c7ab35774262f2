// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class UnikernelSpecTest {
  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(UnikernelSpec.class, () -> UnikernelSpec.builder().image(Path.of("image")))
        .with("rateLimits", 0, limited(1), limited(2))
        .check();
  }

  private static RateLimits limited(long operations) {
    return RateLimits.NONE.withSocket(RateLimit.operations(operations));
  }
}
