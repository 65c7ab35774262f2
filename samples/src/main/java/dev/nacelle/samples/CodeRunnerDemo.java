// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import com.sun.net.httpserver.HttpServer;
import dev.nacelle.Nacelle;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;

/** Posts two programs to a {@link CodeRunner} of its own, and shows what comes as it comes. */
final class CodeRunnerDemo {
  private static final List<String> PROGRAMS =
      List.of(
          """
          import time
          for i in range(3):
              print("tick", i)
              time.sleep(1)
          """,
          """
          import sys
          print("to stderr", file=sys.stderr)
          sys.exit(3)
          """);

  private CodeRunnerDemo() {}

  /**
   * @param image has Python in it
   */
  static void run(String image) throws IOException, InterruptedException {
    try (Nacelle nacelle = Nacelle.create()) {
      CodeRunner runner =
          new CodeRunner(nacelle, CodeRunner.sandbox(image), Duration.ofMinutes(1), 1);
      HttpServer server = runner.serve(0);
      try {
        for (String program : PROGRAMS) {
          post(server.getAddress().getPort(), program);
        }
      } finally {
        CodeRunner.stop(server);
      }
    }
  }

  private static void post(int port, String program) throws IOException, InterruptedException {
    System.out.println("POST /run\n" + program.indent(2));
    HttpRequest request =
        HttpRequest.newBuilder(URI.create("http://localhost:" + port + "/run"))
            .POST(BodyPublishers.ofString(program))
            .build();
    HttpResponse<Stream<String>> response =
        HttpClient.newHttpClient().send(request, BodyHandlers.ofLines());
    System.out.println(response.statusCode());
    response.body().forEach(line -> System.out.println("  " + line));
  }
}
