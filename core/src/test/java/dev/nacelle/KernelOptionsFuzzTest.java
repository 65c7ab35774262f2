// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.nio.charset.StandardCharsets;
import java.util.stream.Stream;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * What a caller passes on to a kernel is taken as it is or refused. Run with JAZZER_FUZZ=1 to
 * search; otherwise the seeds alone are tried.
 */
class KernelOptionsFuzzTest {
  static Stream<byte[]> texts() {
    return Stream.of(
            "quiet a=\"b c\" -- x", "net/ipv4/conf/eth0.1/x", "kernel.shmmax", "../x", "\n")
        .map(text -> text.getBytes(StandardCharsets.UTF_8));
  }

  @MethodSource("texts")
  @FuzzTest
  void parameters(byte[] bytes) {
    String text = new String(bytes, StandardCharsets.UTF_8);
    try {
      if (!KernelParameters.check(text).matches("[\\x20-\\x7e]{0,1536}")
          || (" " + text + " ").contains(" -- ") && text.indexOf('"') < 0) {
        throw new AssertionError("accepted: " + text);
      }
    } catch (IllegalArgumentException expected) {
      // That is what it is for.
    }
  }

  @MethodSource("texts")
  @FuzzTest
  void sysctls(byte[] bytes) {
    String text = new String(bytes, StandardCharsets.UTF_8);
    try {
      String name = Sysctls.name(text);
      if (!name.equals(Sysctls.name(name))
          || name.chars().anyMatch(c -> c <= ' ' || c > '~')
          || name.startsWith(".")
          || name.contains("..")) {
        throw new AssertionError("accepted: " + text + " as " + name);
      }
    } catch (IllegalArgumentException expected) {
      // That is what it is for.
    }
  }
}
