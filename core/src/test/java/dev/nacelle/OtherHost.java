// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.nacelle.image.testing.Tool;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
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

      interface, certificate = sys.argv[1:]
      ipv4, ipv6 = sys.stdin.readline().split()
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

  /** Begins; null where there is no privilege for it, as of a container's root, and on Windows. */
  static @Nullable OtherHost start(Path directory) throws IOException {
    // To make a namespace, and a cable to it.
    String probe =
        """
        (modprobe -q veth; unshare -n true && ip link add probe$$ type veth && ip link del probe$$
        ) >said 2>&1 && echo may || true
        """;
    if (OS.WINDOWS.isCurrentOs()
        || !Files.isExecutable(Path.of("/sbin/ip"))
        || !Tool.script(directory, probe).contains("may")) {
      return null;
    }
    Tool.script(
        directory,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=site"
            + " -addext subjectAltName=DNS:site.example -keyout key -out certificate 2>&1"
            + " && cat key certificate >both");
    Path log = directory.resolve("other-host.log");
    Process process =
        new ProcessBuilder(
                "unshare",
                "-n",
                "python3",
                "-c",
                SERVER,
                "eth0",
                directory.resolve("both").toString())
            .redirectError(log.toFile())
            .start();
    try {
      // Other tests may have one at the same time: whose cable it is, whose are the addresses.
      String number =
          Tool.script(
                  directory,
                  """
              modprobe -q veth || true
              while [ $(readlink /proc/%1$d/ns/net) = $(readlink /proc/self/ns/net) ]; do
                sleep .01
              done
              for number in {1..62}; do
                cable=nacelle$number
                if said=$(ip link add $cable type veth peer name eth0 netns %1$d 2>&1); then
                  ip addr add 198.51.100.$((4 * number + 1))/30 dev $cable
                  ip addr add 2001:db8:$number::1/64 dev $cable nodad
                  ip link set $cable up
                  echo $number
                  exit
                fi
                [[ $said = *exists* ]] || break
              done
              echo "$said"
              exit 1
              """
                      .formatted(process.pid()))
              .strip();
      String net = "198.51.100.";
      int first = 4 * Integer.parseInt(number);
      OtherHost other =
          new OtherHost(
              process, net + (first + 2), "2001:db8:" + number + "::2", net + (first + 1));
      process.getOutputStream().write((other.ipv4 + " " + other.ipv6 + "\n").getBytes(UTF_8));
      process.getOutputStream().flush();
      BufferedReader said = process.inputReader(UTF_8);
      if (!"ready".equals(said.readLine())) {
        throw new AssertionError("another host does not begin: " + Files.readString(log));
      }
      return other;
    } catch (IOException | RuntimeException | Error e) {
      end(process);
      throw e;
    }
  }

  @Override
  public void close() {
    end(process);
  }

  private static void end(Process process) {
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
