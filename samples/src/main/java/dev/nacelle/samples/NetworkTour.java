// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.nacelle.DataSize;
import dev.nacelle.GuestProcess;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.URL;
import java.time.Duration;

/**
 * What a sandbox reaches, and by whom it is reached: a program in it fetches a page from a server
 * of this process, which its policy allows, and is refused another; then a web server in it answers
 * this process. No network of the host's is used but localhost, and no privilege.
 */
public final class NetworkTour {
  private static final int PORT = 8000;

  private NetworkTour() {}

  static SandboxSpec sandbox(String image) {
    return SandboxSpec.builder()
        .image(image)
        .memory(DataSize.mebibytes(256))
        .startTimeout(Duration.ofMinutes(5))
        .network(NetworkPolicy.internal())
        .publish(PublishedPort.tcp(PORT))
        .build();
  }

  /**
   * Shows it.
   *
   * @param args an image with Python
   * @throws IOException when this host cannot serve or connect on localhost
   */
  public static void main(String... args) throws IOException {
    try (Nacelle nacelle = Nacelle.create()) {
      show(nacelle, args[0], System.out);
    }
  }

  static void show(Nacelle nacelle, String image, PrintStream out) throws IOException {
    try (Page page = new Page("hello from the host")) {
      NetworkPolicy policy = NetworkPolicy.builder().hostService("greeter", page.address()).build();
      SandboxSpec spec =
          sandbox(image).toBuilder()
              .network(policy)
              .networkListener(
                  event -> {
                    if (event instanceof NetworkEvent.FlowDenied denied) {
                      out.println("the host denied " + denied.flow().remote().getHostAddress());
                    }
                  })
              .build();
      try (Sandbox sandbox = nacelle.start(spec)) {
        String allowed = "http://greeter.host.internal:" + page.address().getPort() + "/";
        out.println("the sandbox gets: " + fetch(sandbox, allowed));
        out.println("the sandbox gets: " + fetch(sandbox, "http://192.0.2.1/"));
        try (GuestProcess server = sandbox.start(server())) {
          sandbox.network().awaitPort(PORT, Duration.ofMinutes(5));
          out.println("the host gets: " + fetch(sandbox.network().published(PORT)));
        }
        out.println(sandbox.network().statistics());
      }
    }
  }

  /** A program that prints a page, or why it has none. */
  private static String fetch(Sandbox sandbox, String url) {
    String program =
        """
        import sys, urllib.request
        try:
            print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())
        except OSError as error:
            print(error)
        """;
    return sandbox.exec("python3", "-c", program, url).orThrow().stdout().text().strip();
  }

  private static ProcessSpec server() {
    String script =
        "mkdir /tmp/www && echo hello from the sandbox >/tmp/www/index.html"
            + " && exec python3 -m http.server --directory /tmp/www "
            + PORT;
    return ProcessSpec.of("sh", "-c", script);
  }

  private static String fetch(InetSocketAddress address) throws IOException {
    URL url = URI.create("http://127.0.0.1:" + address.getPort() + "/").toURL();
    try (InputStream body = url.openStream()) {
      return new String(body.readAllBytes(), UTF_8).strip();
    }
  }

  /** A server on localhost that has one page. */
  private static final class Page implements AutoCloseable {
    private final ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    private final String content;

    Page(String content) throws IOException {
      this.content = content;
      Thread thread = new Thread(this::serve, "page");
      thread.setDaemon(true);
      thread.start();
    }

    InetSocketAddress address() {
      return (InetSocketAddress) server.getLocalSocketAddress();
    }

    private void serve() {
      while (true) {
        try (Socket client = server.accept();
            OutputStream answer = client.getOutputStream()) {
          // What it asks for is read up to the empty line, for there is one answer to all of it.
          InputStream request = client.getInputStream();
          for (int last = 0, next = 0; next >= 0 && last != 0x0d0a0d0a; ) {
            next = request.read();
            last = last << 8 | next;
          }
          answer.write(("HTTP/1.0 200 OK\r\n\r\n" + content).getBytes(UTF_8));
        } catch (IOException e) {
          if (server.isClosed()) {
            return;
          }
        }
      }
    }

    @Override
    public void close() throws IOException {
      server.close();
    }
  }
}
