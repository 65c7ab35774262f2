// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.image.testing.Tool;
import java.io.BufferedReader;
import java.io.Writer;
import java.nio.file.Path;
import java.util.concurrent.Callable;

/** This process without a free descriptor for a while; on Linux, by prlimit. */
final class WithoutDescriptors {
  private WithoutDescriptors() {}

  /**
   * What there is without.
   *
   * @param what needs no class that was not there before: to load one takes a descriptor, too
   */
  static <T> T call(Callable<T> what) throws Exception {
    String usual = Tool.run(Path.of("/"), "sh", "-c", "ulimit -Sn").strip();
    String script = "while read limit; do prlimit --pid=$PPID --nofile=$limit: && echo set; done";
    Process limiter = new ProcessBuilder("sh", "-c", script).start();
    try (Writer limit = limiter.outputWriter();
        BufferedReader set = limiter.inputReader()) {
      limit.append("3\n").flush();
      assertEquals("set", set.readLine());
      try {
        return what.call();
      } finally {
        limit.append(usual).append("\n").flush();
        assertEquals("set", set.readLine());
      }
    } finally {
      limiter.destroy();
    }
  }
}
