// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import dev.nacelle.DataSize;
import dev.nacelle.ExitStatus;
import dev.nacelle.Nacelle;
import dev.nacelle.OnLimit;
import dev.nacelle.OutputConsumer;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.StandardStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;

/**
 * Runs Python programs that are posted to it, each in a fresh sandbox:
 *
 * <pre>{@code curl --no-buffer --data-binary @program.py http://localhost:8080/run}</pre>
 *
 * shows what the program writes, as it writes it, and in a last line how the program ended. An
 * answer without that line is one that was cut off.
 *
 * <p>A client that goes away ends its sandbox: at once where the program writes, which is where
 * this server notices it, else when the program's time is over.
 */
public final class CodeRunner implements HttpHandler {
  static final int LONGEST_PROGRAM = 64 << 10;
  static final DataSize OUTPUT_LIMIT = DataSize.mebibytes(1);

  private static final Logger LOGGER = System.getLogger(CodeRunner.class.getName());

  private final Nacelle nacelle;
  private final SandboxSpec spec;
  private final Duration timeLimit;
  private final Semaphore places;

  /**
   * @param spec what a program runs in; an image with Python
   * @param timeLimit how long a program may run
   * @param atOnce how many may run at the same time
   */
  public CodeRunner(Nacelle nacelle, SandboxSpec spec, Duration timeLimit, int atOnce) {
    this.nacelle = nacelle;
    this.spec = spec;
    this.timeLimit = timeLimit;
    this.places = new Semaphore(atOnce);
  }

  /** A small sandbox, which goes without asking its processes. */
  static SandboxSpec sandbox(String image) {
    return SandboxSpec.builder()
        .image(image)
        .memory(DataSize.mebibytes(256))
        .pidsLimit(64)
        .startTimeout(Duration.ofMinutes(5))
        .stopGrace(Duration.ZERO)
        .build();
  }

  /** What an exception leaves open, the server closes, and its client sees an answer cut off. */
  @Override
  public void handle(HttpExchange exchange) throws IOException {
    byte[] program = exchange.getRequestBody().readNBytes(LONGEST_PROGRAM + 1);
    if (!exchange.getRequestMethod().equals("POST")) {
      exchange.getResponseHeaders().set("Allow", "POST");
      refuse(exchange, 405, "POST a Python program");
    } else if (program.length > LONGEST_PROGRAM) {
      refuse(exchange, 413, "The program has more than " + LONGEST_PROGRAM + " bytes");
    } else if (!places.tryAcquire()) {
      exchange.getResponseHeaders().set("Retry-After", "1");
      refuse(exchange, 503, "Too many programs run already; try again later");
    } else {
      try {
        answer(exchange, program);
      } finally {
        places.release();
      }
    }
  }

  private void answer(HttpExchange exchange, byte[] program) throws IOException {
    Answer answer = new Answer(exchange);
    try {
      answer.end(run(program, answer));
    } catch (RuntimeException e) {
      // A NacelleException's message says what was wrong, and what to do about it.
      LOGGER.log(Level.WARNING, "A program was not run to its end", e);
      if (answer.begun) {
        throw e;
      }
      refuse(exchange, 500, "The program could not be run; the server's log says why");
    }
  }

  private ExitStatus run(byte[] program, OutputConsumer<IOException> output) throws IOException {
    ProcessSpec python =
        ProcessSpec.builder("python3", "-u", "-")
            .stdin(program)
            .mergeStderr(true)
            .timeout(timeLimit)
            .outputLimit(OUTPUT_LIMIT, OnLimit.KILL)
            .build();
    try (Sandbox sandbox = nacelle.start(spec)) {
      return sandbox.exec(python, output);
    }
  }

  private static void refuse(HttpExchange exchange, int status, String why) throws IOException {
    byte[] text = (why + "\n").getBytes(StandardCharsets.UTF_8);
    exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
    exchange.sendResponseHeaders(status, text.length);
    exchange.getResponseBody().write(text);
    exchange.close();
  }

  /** The answer to one request. It begins with the first output, since until then it may be 500. */
  private static final class Answer implements OutputConsumer<IOException> {
    private final HttpExchange exchange;
    private boolean begun;
    private boolean inLine;

    private Answer(HttpExchange exchange) {
      this.exchange = exchange;
    }

    @Override
    public void accept(StandardStream stream, byte[] bytes) throws IOException {
      if (!begun) {
        begun = true;
        exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
        exchange.sendResponseHeaders(200, 0);
      }
      inLine = bytes[bytes.length - 1] != '\n';
      OutputStream body = exchange.getResponseBody();
      body.write(bytes);
      body.flush();
    }

    private void end(ExitStatus status) throws IOException {
      String last = (inLine ? "\n" : "") + status + "\n";
      accept(StandardStream.STDOUT, last.getBytes(StandardCharsets.UTF_8));
      exchange.close();
    }
  }

  /**
   * Serves {@code /run}, to clients of this machine alone. Twice as many threads as there are
   * places, so that one is left to refuse those who come when all are taken.
   *
   * @param port 0 for one that is free
   */
  HttpServer serve(int port) throws IOException {
    InetAddress local = InetAddress.getLoopbackAddress();
    HttpServer server = HttpServer.create(new InetSocketAddress(local, port), 0);
    server.createContext("/run", this);
    server.setExecutor(Executors.newFixedThreadPool(2 * places.availablePermits()));
    server.start();
    return server;
  }

  /** Ends the server, and cuts off what it answers just now. */
  static void stop(HttpServer server) {
    server.stop(0);
    ((ExecutorService) server.getExecutor()).shutdownNow();
  }

  /**
   * @param args an image with Python, and the port to listen on, 8080 when there is none
   */
  public static void main(String... args) throws IOException {
    int port = args.length > 1 ? Integer.parseInt(args[1]) : 8080;
    // In seconds: when the server gives clients up that send their request, or read its answer, too
    // slowly.
    System.setProperty("sun.net.httpserver.maxReqTime", "10");
    System.setProperty("sun.net.httpserver.maxRspTime", "60");
    Nacelle nacelle = Nacelle.create();
    SandboxSpec spec = sandbox(args[0]);
    // So that no client waits for a download.
    nacelle.prepare(spec);
    new CodeRunner(nacelle, spec, Duration.ofSeconds(10), 8).serve(port);
    System.out.printf("Try: echo 'print(6 * 7)' | curl --data-binary @- localhost:%d/run%n", port);
  }
}
