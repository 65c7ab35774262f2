// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.network.DnsRecordType;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkPolicy;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What iodine makes of a sandbox's DNS: it carries packets in questions and their answers. */
@Timeout(120)
@EnabledOnOs(value = OS.LINUX, disabledReason = "the guest's half needs a network namespace")
class NetworkTunnelTest {
  private static final String DOMAIN = "t.wild.example";

  @Test
  void namesCarryATunnelWhereARuleAllowsThemWithTheirTexts(@TempDir Path directory) {
    ToolsNetwork.assumePossible();
    assertEquals(
        """
        no tunnel
        not asked
        no tunnel
        asked
        through it
        asked
        """,
        ToolsNetwork.onAnotherHost(NetworkTunnelTest.class, directory.toString()));
  }

  /**
   * On a host of its own, whose name server is iodine's: below a name that no rule has, one that a
   * rule has, and such a one with TXT, whether there is a tunnel and the server was asked.
   */
  public static void main(String[] arguments) throws Exception {
    Path directory = Path.of(arguments[0]);
    Path asked = directory.resolve("asked");
    String server = "exec iodined -f -c -DD -P secret -l 127.0.0.1 10.99.0.1/27 " + DOMAIN;
    Process process =
        new ProcessBuilder("sh", "-c", server)
            .redirectErrorStream(true)
            .redirectOutput(asked.toFile())
            .start();
    try (ServerSocket behind = new ServerSocket(0)) {
      Thread greets = new Thread(() -> greet(behind));
      greets.setDaemon(true);
      greets.start();
      while (!Files.readString(asked).contains("Listening to dns")) {
        if (!process.isAlive()) {
          throw new IOException("iodined has ended: " + Files.readString(asked));
        }
        Thread.sleep(10);
      }
      NetworkPolicy rule = NetworkPolicy.builder().allow(Egress.https("*.wild.example")).build();
      for (NetworkPolicy policy :
          new NetworkPolicy[] {
            NetworkPolicy.builder().allow(Egress.https("a.example")).build(),
            rule,
            rule.toBuilder().dnsRecords(DnsRecordType.TXT).build()
          }) {
        try (ToolsNetwork network = new ToolsNetwork(directory, policy)) {
          long before = Files.size(asked);
          network.asks(new InetSocketAddress(InetAddress.getLoopbackAddress(), 53));
          String said = network.run(client(behind.getLocalPort())).output();
          System.out.println(said + (Files.size(asked) > before ? "asked" : "not asked"));
        }
      }
    } finally {
      process.destroy();
    }
  }

  /** Connects through the tunnel, where there is one. */
  private static String client(int port) {
    return """
        iodine -f -r -m 512 -P secret 198.18.0.1 %s > client 2>&1 &
        while kill -0 $! 2>/dev/null && ! grep -q 'setup complete' client; do sleep 0.05; done
        if grep -q 'setup complete' client; then
          timeout 20 cat < /dev/tcp/10.99.0.1/%d
          kill $!
        elif grep -q 'No suitable DNS query type' client; then
          echo no tunnel
        else
          cat client
        fi
        wait
        """
        .formatted(DOMAIN, port);
  }

  private static void greet(ServerSocket server) {
    try {
      while (true) {
        try (Socket peer = server.accept()) {
          peer.getOutputStream().write("through it\n".getBytes(StandardCharsets.ISO_8859_1));
        }
      }
    } catch (IOException e) {
      // It has ended.
    }
  }
}
