// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import dev.nacelle.Nacelle;
import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxExit;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Real programs, by a real client over HTTP. */
@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class CodeRunnerBootTest {
  private final BlockingQueue<SandboxExit.Reason> ended = new LinkedBlockingQueue<>();
  private final Nacelle nacelle = Nacelle.builder().listener(this::note).build();
  private final HttpClient client = HttpClient.newHttpClient();
  private HttpServer server;

  private void note(SandboxEvent event) {
    if (event instanceof SandboxEvent.Ended end) {
      ended.add(end.exit().reason());
    }
  }

  private void serve(Duration timeLimit) throws IOException {
    server =
        new CodeRunner(nacelle, CodeRunner.sandbox(SampleImage.reference()), timeLimit, 1).serve(0);
  }

  private void assertNothingIsLeft() throws InterruptedException {
    assertEquals(SandboxExit.Reason.CLOSED, ended.poll(5, TimeUnit.MINUTES));
  }

  @AfterEach
  void close() {
    CodeRunner.stop(server);
    nacelle.close();
  }

  private <T> HttpResponse<T> post(String program, HttpResponse.BodyHandler<T> body)
      throws IOException, InterruptedException {
    return client.send(
        HttpRequest.newBuilder(
                URI.create("http://localhost:" + server.getAddress().getPort() + "/run"))
            .POST(BodyPublishers.ofString(program))
            .build(),
        body);
  }

  @Test
  void outputComesWhileTheProgramRunsUntilTheClientGoesAwayOrTheLimitIsReached() throws Exception {
    serve(Duration.ofMinutes(9));
    HttpResponse<InputStream> endless =
        post(
            """
            import time
            while True:
                print("tick")
                time.sleep(0.1)
            """,
            BodyHandlers.ofInputStream());
    assertEquals(200, endless.statusCode());
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(endless.body(), StandardCharsets.UTF_8))) {
      assertEquals("tick", lines.readLine());
      assertEquals(503, post("print()", BodyHandlers.discarding()).statusCode());
      assertEquals("tick", lines.readLine());
      assertTrue(ended.isEmpty());
    }
    assertNothingIsLeft();

    HttpResponse<String> next;
    do {
      // Its place is free moments after that.
      next =
          post(
              """
              import sys
              print("to stdout")
              print("to stderr", file=sys.stderr)
              while True:
                  print("x" * 1023)
              """,
              BodyHandlers.ofString());
    } while (next.statusCode() == 503);
    assertEquals(200, next.statusCode());
    String body = next.body();
    assertTrue(body.startsWith("to stdout\nto stderr\nxxx"), () -> body.substring(0, 30));
    assertEquals(
        "\nended by SIGKILL, more output than its limit\n",
        body.substring((int) CodeRunner.OUTPUT_LIMIT.bytes()));
    assertNothingIsLeft();
  }

  @Test
  void aProgramThatTakesTooLongIsKilled() throws Exception {
    serve(Duration.ofSeconds(1));
    assertEquals(
        "ended by SIGKILL, timed out\n",
        post("import time; time.sleep(3600)", BodyHandlers.ofString()).body());
    assertNothingIsLeft();
  }
}
