// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class NamedPipeTest {
  private static final String NAME = NamedPipe.PREFIX + "nacelle-test";
  private static final byte[] WORDS = "words".getBytes(US_ASCII);

  @BeforeEach
  void reset() {
    StandIn.reset();
  }

  @AfterEach
  void nothingIsLeft() {
    StandIn.requireNothingLeft();
  }

  private static CompletableFuture<byte[]> reading(NamedPipe pipe) {
    return CompletableFuture.supplyAsync(
        () -> {
          try {
            return pipe.read();
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  @Test
  void whatIsWrittenIsReadUntilTheClientGoes() throws Exception {
    try (NamedPipe pipe = NamedPipe.create(NAME)) {
      CompletableFuture<byte[]> reading = reading(pipe);
      StandIn.writeToPipe(NAME, WORDS);
      assertArrayEquals(WORDS, reading.get());
      StandIn.writeToPipe(NAME, WORDS);
      StandIn.writeToPipe(NAME, WORDS);
      StandIn.endPipe(NAME);
      assertEquals(2 * WORDS.length, pipe.read().length);
      assertNull(pipe.read());
      assertNull(pipe.read());
    }
  }

  @Test
  void muchIsReadInParts() throws Exception {
    try (NamedPipe pipe = NamedPipe.create(NAME)) {
      StandIn.writeToPipe(NAME, new byte[NamedPipe.BUFFER + 1]);
      assertEquals(NamedPipe.BUFFER, pipe.read().length);
      assertEquals(1, pipe.read().length);
    }
  }

  @Test
  void waitingForTheClientEnds() throws Exception {
    try (NamedPipe pipe = NamedPipe.create(NAME)) {
      CompletableFuture<byte[]> reading = reading(pipe);
      pipe.end();
      pipe.end();
      assertNull(reading.get());
    }
  }

  @Test
  void waitingForBytesEndsAfterThoseThatAreThere() throws Exception {
    NamedPipe pipe = NamedPipe.create(NAME);
    StandIn.writeToPipe(NAME, WORDS);
    pipe.end();
    assertArrayEquals(WORDS, pipe.read());
    assertNull(pipe.read());
    pipe.close();
    pipe.close();
    pipe.end();
  }

  @Test
  void nameIsOfOnePipe() throws Exception {
    try (NamedPipe pipe = NamedPipe.create(NAME)) {
      IOException e = assertThrows(IOException.class, () -> NamedPipe.create(NAME).close());
      // ERROR_ACCESS_DENIED is documented; Wine says ERROR_PIPE_BUSY.
      String message = e.getMessage();
      assertTrue(
          message.equals("CreateNamedPipe " + NAME + ": error 5")
              || message.equals("CreateNamedPipe " + NAME + ": error 231"),
          message);
    }
  }
}
