// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.times;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.verifyNoInteractions;
import static org.mockito.Mockito.when;

import com.sun.net.httpserver.HttpServer;
import dev.nacelle.ExitStatus;
import dev.nacelle.Nacelle;
import dev.nacelle.OutputConsumer;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.StandardStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What the handler does about requests and errors; CodeRunnerBootTest has it run programs. */
@Timeout(60)
class CodeRunnerTest {
  /** What a program does in the place of a sandbox. */
  @FunctionalInterface
  private interface Program {
    ExitStatus run(OutputConsumer<IOException> output) throws Exception;
  }

  private static final Logger LOGGER = Logger.getLogger(CodeRunner.class.getName());

  private final Nacelle nacelle = mock(Nacelle.class);
  private final Sandbox sandbox = mock(Sandbox.class);
  private final List<LogRecord> log = new CopyOnWriteArrayList<>();
  private final Handler handler =
      new Handler() {
        @Override
        public void publish(LogRecord logged) {
          log.add(logged);
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
      };
  private final HttpClient client = HttpClient.newHttpClient();
  private HttpServer server;

  @BeforeEach
  void open() throws IOException {
    LOGGER.addHandler(handler);
    LOGGER.setUseParentHandlers(false);
    when(nacelle.start(any())).thenReturn(sandbox);
    server =
        new CodeRunner(nacelle, CodeRunner.sandbox("oci:/image"), Duration.ofSeconds(10), 1)
            .serve(0);
  }

  @AfterEach
  void close() {
    CodeRunner.stop(server);
    LOGGER.removeHandler(handler);
    LOGGER.setUseParentHandlers(true);
  }

  private void sandboxRuns(Program program) throws IOException {
    when(sandbox.exec(any(ProcessSpec.class), any()))
        .thenAnswer(call -> program.run(call.getArgument(1)));
  }

  private HttpRequest.Builder request() {
    return HttpRequest.newBuilder(
        URI.create("http://localhost:" + server.getAddress().getPort() + "/run"));
  }

  private HttpResponse<String> post(String program) throws IOException, InterruptedException {
    HttpRequest request = request().POST(BodyPublishers.ofString(program)).build();
    return client.send(request, BodyHandlers.ofString());
  }

  private static void write(OutputConsumer<IOException> output, String text) throws IOException {
    output.accept(StandardStream.STDOUT, text.getBytes(StandardCharsets.UTF_8));
  }

  private static ExitStatus exit(int code) {
    return ExitStatus.of(code);
  }

  @Test
  void theLastLineSaysHowTheProgramEnded() throws Exception {
    sandboxRuns(
        output -> {
          write(output, "no line");
          return exit(3);
        });
    HttpResponse<String> response = post("program");
    assertEquals(200, response.statusCode());
    assertEquals("no line\nexit code 3\n", response.body());

    sandboxRuns(output -> exit(0));
    assertEquals("exit code 0\n", post("program").body());
    verify(sandbox, times(2)).close();
  }

  @Test
  void aProgramThatIsTooLongIsRefused() throws Exception {
    assertEquals(413, post("#".repeat(CodeRunner.LONGEST_PROGRAM + 1)).statusCode());
    verifyNoInteractions(nacelle);
    sandboxRuns(output -> exit(0));
    assertEquals(200, post("#".repeat(CodeRunner.LONGEST_PROGRAM)).statusCode());
  }

  @Test
  void otherMethodsAreRefused() throws Exception {
    HttpResponse<String> response = client.send(request().GET().build(), BodyHandlers.ofString());
    assertEquals(405, response.statusCode());
    assertEquals(Optional.of("POST"), response.headers().firstValue("Allow"));
    verifyNoInteractions(nacelle);
  }

  @Test
  void whoComesWhenAllPlacesAreTakenIsRefused() throws Exception {
    CountDownLatch running = new CountDownLatch(1);
    CountDownLatch end = new CountDownLatch(1);
    sandboxRuns(
        output -> {
          running.countDown();
          end.await();
          return exit(0);
        });
    CompletableFuture<HttpResponse<String>> first =
        client.sendAsync(
            request().POST(BodyPublishers.ofString("program")).build(), BodyHandlers.ofString());
    running.await();
    HttpResponse<String> second = post("program");
    assertEquals(503, second.statusCode());
    assertTrue(second.headers().firstValue("Retry-After").isPresent());
    end.countDown();
    assertEquals(200, first.join().statusCode());
    assertEquals(200, post("program").statusCode());
  }

  @Test
  void anErrorOfOursIsForTheLogAndNotForTheClient() throws Exception {
    ProcessException failure =
        new ProcessException(
            ProcessException.Reason.NOT_STARTED, "secret/path is full", "Make room.", null);
    when(nacelle.start(any())).thenThrow(failure).thenReturn(sandbox);
    HttpResponse<String> response = post("program");
    assertEquals(500, response.statusCode());
    assertFalse(response.body().contains("secret"), response.body());
    assertEquals(1, log.size());
    assertEquals("secret/path is full. Make room.", log.get(0).getThrown().getMessage());

    sandboxRuns(output -> exit(0));
    assertEquals(200, post("program").statusCode());
  }

  @Test
  void anErrorAfterOutputCutsTheAnswerOff() throws Exception {
    sandboxRuns(
        output -> {
          write(output, "begun\n");
          throw new IllegalStateException("in a test");
        });
    assertThrows(IOException.class, () -> post("program"));
    assertEquals(1, log.size());
    verify(sandbox).close();

    sandboxRuns(output -> exit(0));
    assertEquals(200, post("program").statusCode());
  }
}
