// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.Nacelle;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A real sandbox and its network. */
@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class NetworkTourBootTest {
  @Test
  void theAllowedServerIsReachedTheOtherIsNotAndItsOwnAnswers() throws Exception {
    ByteArrayOutputStream written = new ByteArrayOutputStream();
    try (Nacelle nacelle = Nacelle.create()) {
      NetworkTour.show(nacelle, SampleImage.reference(), new PrintStream(written, true, UTF_8));
    }
    String text = written.toString(UTF_8);
    assertTrue(text.contains("the sandbox gets: hello from the host\n"), text);
    assertTrue(text.contains("No route to host"), text);
    assertTrue(text.contains("the host denied 192.0.2.1\n"), text);
    assertTrue(text.contains("the host gets: hello from the sandbox\n"), text);
  }
}
