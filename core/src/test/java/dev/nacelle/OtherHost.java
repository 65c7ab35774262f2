// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.nacelle.image.testing.Tool;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.condition.OS;

/**
 * Another host, which this one reaches over a cable: a network namespace with addresses of its own,
 * of IPv4 and IPv6, that are for documentation. It serves HTTP at ports 80 and 8080, HTTPS at 443,
 * and echoes datagrams at port 7.
 */
final class OtherHost implements AutoCloseable {
  private static final String SERVER =
      """
      import http.server, os, socket, ssl, subprocess, sys, threading

      interface, ipv4, ipv6, certificate = sys.argv[1:]
      sys.stdin.readline()
      for command in ('link set lo up', f'link set {interface} up',
                      f'addr add {ipv4}/30 dev {interface}',
                      f'addr add {ipv6}/64 dev {interface} nodad'):
          subprocess.run(['ip', *command.split()], check=True)

      class Greets(http.server.BaseHTTPRequestHandler):
          protocol_version = 'HTTP/1.1'

          def do_GET(self):
              body = f"hello {self.headers['Host']} {self.path}\\n".encode()
              self.send_response(200)
              self.send_header('Content-Length', str(len(body)))
              self.end_headers()
              self.wfile.write(body)

          def log_message(self, *what):
              pass

      class Server(http.server.ThreadingHTTPServer):
          address_family = socket.AF_INET6
          daemon_threads = True

      for port in 80, 443, 8080:
          server = Server(('::', port), Greets)
          if port == 443:
              context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
              context.load_cert_chain(certificate)
              server.socket = context.wrap_socket(server.socket, server_side=True)
          threading.Thread(target=server.serve_forever, daemon=True).start()
      echo = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
      echo.bind(('::', 7))
      # It ends with whoever began it.
      threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
      print('ready', flush=True)
      while True:
          datagram, peer = echo.recvfrom(65536)
          echo.sendto(datagram, peer)
      """;

  private final Process process;
  final String ipv4;
  final String ipv6;

  /** Of this host, at the cable's end. */
  final String ours;

  private OtherHost(Process process, String ipv4, String ipv6, String ours) {
    this.process = process;
    this.ipv4 = ipv4;
    this.ipv6 = ipv6;
    this.ours = ours;
  }

  /** Begins; null where there is no privilege for it, and on Windows. */
  static @Nullable OtherHost start(Path directory) throws IOException {
    boolean isRoot = Files.isWritable(Path.of("/proc/1/oom_score_adj"));
    if (OS.WINDOWS.isCurrentOs() || !isRoot || !Files.isExecutable(Path.of("/sbin/ip"))) {
      return null;
    }
    Tool.script(
        directory,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=site"
            + " -addext subjectAltName=DNS:site.example -keyout key -out certificate 2>&1"
            + " && cat key certificate >both");
    // Some of these, since other tests may have one at the same time.
    int number = new Random().nextInt(1, 63);
    String net = "198.51.100.";
    String ipv4 = net + (4 * number + 2);
    String ours = net + (4 * number + 1);
    String prefix = "2001:db8:" + Integer.toHexString(new Random().nextInt(1, 0xffff));
    String ipv6 = prefix + "::2";
    Path log = directory.resolve("other-host.log");
    Process process =
        new ProcessBuilder(
                "unshare",
                "-n",
                "python3",
                "-c",
                SERVER,
                "eth0",
                ipv4,
                ipv6,
                directory.resolve("both").toString())
            .redirectError(log.toFile())
            .start();
    OtherHost other = new OtherHost(process, ipv4, ipv6, ours);
    try {
      String cable = "nacelle" + process.pid();
      Tool.script(
          directory,
          """
          modprobe -q veth || true
          while [ $(readlink /proc/%2$d/ns/net) = $(readlink /proc/self/ns/net) ]; do sleep .01; done
          ip link add %1$s type veth peer name eth0 netns %2$d
          ip addr add %3$s/30 dev %1$s
          ip addr add %4$s::1/64 dev %1$s nodad
          ip link set %1$s up
          """
              .formatted(cable, process.pid(), ours, prefix));
      process.getOutputStream().write('\n');
      process.getOutputStream().flush();
      BufferedReader said = process.inputReader(UTF_8);
      if (!"ready".equals(said.readLine())) {
        throw new AssertionError("another host does not begin: " + Files.readString(log));
      }
      return other;
    } catch (IOException | RuntimeException | Error e) {
      other.close();
      throw e;
    }
  }

  @Override
  public void close() {
    // With its namespace the cable goes.
    process.destroyForcibly();
    try {
      process.waitFor();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new UncheckedIOException(new IOException(e));
    }
  }
}
