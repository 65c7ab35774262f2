// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.ToolsNetwork.ADDRESS;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.FreePort;
import dev.nacelle.internal.Words;
import dev.nacelle.net.ToolsNetwork.Ended;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.network.Rate;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Servers as people run them, at one end or the other of a sandbox's network. */
@Timeout(120)
@EnabledOnOs(value = OS.LINUX, disabledReason = "the guest's half needs a network namespace")
class NetworkServersTest {
  private static final PublishedPort WEB = PublishedPort.tcp(8000);
  private static final int SIZE = 360_000;

  @TempDir private static Path directory;

  private static NetworkPolicy tcp(int port) {
    return NetworkPolicy.builder().allow(Egress.tcp(ToolsNetwork.NAME, port)).build();
  }

  private static InetSocketAddress local(int port) {
    return new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
  }

  /** A server of this machine's, until it is closed. */
  private record Server(Process process, Path log) implements AutoCloseable {
    /** Starts it, and waits until it accepts. */
    static Server at(int port, String script) throws Exception {
      Path log = Files.createTempFile(directory, "server", ".log");
      Process process =
          new ProcessBuilder("bash", "-euc", script)
              .directory(directory.toFile())
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start();
      Server server = new Server(process, log);
      for (int i = 0; i < 3_000; i++) {
        try (Socket unused = new Socket(InetAddress.getLoopbackAddress(), port)) {
          return server;
        } catch (IOException e) {
          if (!process.isAlive()) {
            break;
          }
          Thread.sleep(10);
        }
      }
      server.close();
      throw new AssertionError("it does not begin: " + server.said());
    }

    String said() throws IOException {
      return Files.readString(log, ISO_8859_1);
    }

    @Override
    public void close() throws Exception {
      List<ProcessHandle> all = new ArrayList<>(process.descendants().toList());
      all.add(process.toHandle());
      all.forEach(ProcessHandle::destroy);
      if (!process.waitFor(20, TimeUnit.SECONDS)) {
        all.forEach(ProcessHandle::destroyForcibly);
        process.waitFor();
      }
    }
  }

  private static void assertHas(Ended ended, String... parts) {
    for (String part : parts) {
      assertTrue(ended.output().contains(part), () -> part + " is not in: " + ended);
    }
  }

  @Test
  void iperfSendsReceivesAndSendsDatagrams() throws Exception {
    int port = FreePort.find();
    NetworkPolicy policy =
        NetworkPolicy.builder()
            .allow(Egress.addresses("93.184.216.0/24").tcp(5201).udp(5201))
            .build();
    try (Server server = Server.at(port, "exec iperf3 -s -B 127.0.0.1 -p " + port);
        ToolsNetwork network = new ToolsNetwork(directory, policy)) {
      network.route(5201, local(port));
      Ended ended =
          network.run(
              """
              iperf() {
                # The server may be busy with the end of what was before: then nothing begins.
                for try in {1..100}; do
                  iperf3 -c 93.184.216.34 "$@" >said 2>why && break
                  [[ $(<said) != *' connected to '* ]] || break
                  [[ $(<why) =~ busy|refused|reset|control ]] || break
                  sleep .1
                done
                cat why
                tail -n 1 said
              }
              iperf -n 40M -P 2
              iperf -n 40M -P 2 -R
              iperf -n 20M --bidir
              iperf -u -b 20M -n 2M -l 1400
              iperf -u -b 20M -n 2M -l 1400 -R
              """);
      assertEquals("iperf Done.\n".repeat(5), ended.output(), server.said());
      NetworkStatistics statistics = network.statistics();
      // Of both ways at once the one ends the other.
      assertTrue(statistics.sent() >= 40 << 20 && statistics.received() >= 40 << 20);
    }
  }

  @Test
  void nginxServesManyAndTheSlowDoNotHoldTheFast() throws Exception {
    byte[] content = new byte[SIZE];
    new Random(1).nextBytes(content);
    Path www = Files.createDirectories(directory.resolve("www"));
    Files.write(www.resolve("file"), content);
    Files.writeString(www.resolve("index.html"), "hello from nginx\n");
    Files.writeString(
        directory.resolve("nginx.conf"),
        """
        user root;
        worker_processes 1;
        daemon off;
        pid %1$s/nginx.pid;
        error_log stderr;
        events { worker_connections 512; }
        http {
          access_log off;
          client_body_temp_path %1$s/nginx-1;
          proxy_temp_path %1$s/nginx-2;
          fastcgi_temp_path %1$s/nginx-3;
          uwsgi_temp_path %1$s/nginx-4;
          scgi_temp_path %1$s/nginx-5;
          server { listen 8000; root %1$s/www; }
        }
        """
            .formatted(directory));
    NetworkPolicy policy =
        NetworkPolicy.builder()
            .limits(NetworkLimits.builder().opens(Rate.perSecond(100_000)).build())
            .build();
    ExecutorService clients = Executors.newCachedThreadPool();
    try (ToolsNetwork network = new ToolsNetwork(directory, policy, WEB)) {
      Ended ended =
          network.run(
              "PATH=$PATH:/usr/sbin; nginx -e stderr -c $PWD/nginx.conf & cat >/dev/null;"
                  + " kill $!; wait",
              host -> {
                InetSocketAddress address = awaited(host);
                String url = "http://127.0.0.1:" + address.getPort() + "/";
                List<Future<?>> slow = new ArrayList<>();
                for (int rate : new int[] {30_000, 60_000, 120_000}) {
                  Callable<Void> client = () -> readSlowly(address, rate, content);
                  slow.add(clients.submit(client));
                }
                assertEquals("hello from nginx\n", Tool.run(directory, "curl", "-sS", url));
                String said =
                    Tool.run(directory, "ab", "-q", "-n", "2000", "-c", "50", url + "file");
                assertTrue(said.matches("(?s).*Complete requests: +2000\n.*"), said);
                assertTrue(said.matches("(?s).*Failed requests: +0\n.*"), said);
                // The same with connections that stay.
                said =
                    Tool.run(directory, "ab", "-q", "-k", "-n", "2000", "-c", "50", url + "file");
                assertTrue(said.matches("(?s).*Failed requests: +0\n.*"), said);
                for (Future<?> each : slow) {
                  each.get();
                }
              });
      assertEquals(0, ended.code(), ended.output());
      assertTrue(network.statistics().opened() > 2_050, network.statistics()::toString);
    } finally {
      clients.shutdownNow();
    }
  }

  private static InetSocketAddress awaited(HostNetwork host) throws Exception {
    for (int i = 0; i < 3_000; i++) {
      if (host.probe(WEB.guestPort()).handle((unused, why) -> why == null).get()) {
        return host.published().get(WEB);
      }
      Thread.sleep(10);
    }
    throw new AssertionError("nobody listens on " + WEB);
  }

  /** Reads about three seconds' worth of it, of which little is underway at a time. */
  private static Void readSlowly(InetSocketAddress address, int rate, byte[] content)
      throws Exception {
    try (Socket socket = new Socket()) {
      socket.setReceiveBufferSize(4 << 10);
      socket.connect(address);
      socket.getOutputStream().write("GET /file HTTP/1.1\r\nHost: x\r\n\r\n".getBytes(ISO_8859_1));
      InputStream in = socket.getInputStream();
      var unused = Words.until("\r\n\r\n", in);
      int part = rate / 20;
      int most = Math.min(content.length, 3 * rate);
      for (int at = 0; at < most; at += part) {
        int count = Math.min(part, most - at);
        assertArrayEquals(Arrays.copyOfRange(content, at, at + count), in.readNBytes(count));
        Thread.sleep(50);
      }
    }
    return null;
  }

  @Test
  void sshLogsInAndCarriesBothWays() throws Exception {
    assumeTrue(Files.exists(Path.of("/usr/sbin/sshd")), "there is no sshd");
    int port = FreePort.find();
    Tool.script(
        directory,
        "mkdir ssh && cd ssh && for key in host user; do ssh-keygen -q -t ed25519 -N '' -f $key;"
            + " done && echo \"a.example $(cut -d' ' -f1,2 host.pub)\" > known"
            + " && cp user.pub authorized && head -c 3000000 /dev/urandom > content");
    Files.writeString(
        directory.resolve("ssh/config"),
        """
        ListenAddress 127.0.0.1:%2$d
        HostKey %1$s/ssh/host
        PidFile none
        AuthorizedKeysFile %1$s/ssh/authorized
        StrictModes no
        UsePAM no
        PermitRootLogin yes
        PasswordAuthentication no
        """
            .formatted(directory, port));
    // Its own directory below /run is one of a mount namespace.
    String sshd =
        "exec unshare -m sh -c 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd"
            + " && exec /usr/sbin/sshd -D -e -f ssh/config'";
    try (Server server = Server.at(port, sshd.replace("ssh/config", directory + "/ssh/config"));
        ToolsNetwork network = new ToolsNetwork(directory, tcp(22))) {
      network.route(22, local(port));
      String ssh =
          "ssh -F none -o BatchMode=yes -o UserKnownHostsFile=ssh/known -i ssh/user root@a.example ";
      Ended ended =
          network.run(
              ssh
                  + "echo hello from afar; "
                  + ssh
                  + "cat < ssh/content | cmp - ssh/content && echo"
                  + " same");
      assertEquals("hello from afar\nsame\n", ended.output(), server::toString);
    }
  }

  @Test
  void psqlAsksADatabase() throws Exception {
    Path programs = postgres();
    int port = FreePort.find();
    // It does not run as root.
    String nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups ";
    Tool.script(directory, "chmod 711 . && mkdir -m 700 db && chown nobody:nogroup db");
    Tool.script(
        directory,
        nobody + programs.resolve("initdb") + " -N -D $PWD/db -U tester -A trust --locale=C");
    String begin =
        "exec %s%s -D $PWD/db -F -h 127.0.0.1 -p %d -k $PWD/db"
            .formatted(nobody, programs.resolve("postgres"), port);
    try (Server server = Server.at(port, begin);
        ToolsNetwork network = new ToolsNetwork(directory, tcp(5432))) {
      network.route(5432, local(port));
      Ended ended =
          network.run(
              """
              psql() { %s -X -q -A -t -h "$1" -U tester -d postgres -c "$2"; }
              psql a.example 'create table t as select n, md5(n::text) from generate_series(1, 100000) n'
              psql a.example 'select count(*), sum(n) from t'
              psql a.example 'copy t to stdout' | wc -l
              psql 93.184.216.35 'select 1'
              """
                  .formatted(programs.resolve("psql")));
      assertHas(ended, "100000|5000050000\n100000\n", "No route to host");
      assertTrue(server.process.isAlive());
      network.assertDenied(DenialReason.NOT_RESOLVED);
    }
  }

  private static Path postgres() throws IOException {
    Path versions = Path.of("/usr/lib/postgresql");
    assumeTrue(Files.isDirectory(versions), "there is no PostgreSQL");
    try (Stream<Path> all = Files.list(versions)) {
      return all.map(version -> version.resolve("bin"))
          .filter(programs -> Files.exists(programs.resolve("initdb")))
          .findFirst()
          .orElseThrow();
    }
  }

  @Test
  void ncToldToLookOnlyFindsWhatIsOpen() throws Exception {
    NetworkPolicy policy =
        NetworkPolicy.builder()
            .allow(Egress.addresses("93.184.216.0/24"))
            .limits(NetworkLimits.builder().connectTimeout(Duration.ofSeconds(20)).build())
            .build();
    try (ServerSocket open = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
        ToolsNetwork network = new ToolsNetwork(directory, policy)) {
      network.route(22, local(open.getLocalPort()));
      network.route(23, local(FreePort.find()));
      Ended ended =
          network.run(
              "for to in '%1$s 22' '%1$s 23' '10.0.0.1 22' 'fd00::1 22'; do".formatted(ADDRESS)
                  + " nc -z -v -w 60 $to; echo \"ended with $?\"; done");
      assertEquals(
          """
          Connection to 93.184.216.34 22 port [tcp/ssh] succeeded!
          ended with 0
          nc: connect to 93.184.216.34 port 23 (tcp) failed: Connection refused
          ended with 1
          nc: connect to 10.0.0.1 port 22 (tcp) failed: No route to host
          ended with 1
          nc: connect to fd00::1 port 22 (tcp) failed: Permission denied
          ended with 1
          """,
          ended.output());
    }
  }

  @Test
  void javasOwnClientGetsAndPosts() throws Exception {
    NetworkPolicy policy = NetworkPolicy.builder().allow(Egress.web(ToolsNetwork.NAME)).build();
    Path program =
        Files.writeString(
            directory.resolve("Fetch.java"),
            """
            import java.net.URI;
            import java.net.http.*;

            class Fetch {
              public static void main(String[] urls) throws Exception {
                HttpClient client = HttpClient.newHttpClient();
                for (String url : urls) {
                  for (int i = 0; i < 2; i++) {
                    var request = HttpRequest.newBuilder(URI.create(url));
                    if (url.endsWith("post")) {
                      if (i == 0) {
                        request.version(HttpClient.Version.HTTP_1_1);
                      }
                                      request.POST(HttpRequest.BodyPublishers.ofString("x".repeat(100_000)));
                    }
                    try {
                      var answer =
                          client.send(request.build(), HttpResponse.BodyHandlers.ofString());
                      System.out.print(answer.statusCode() + " " + answer.body());
                    } catch (java.io.IOException e) {
                      System.out.println(e.getClass().getSimpleName());
                    }
                  }
                }
              }
            }
            """);
    String java = Path.of(System.getProperty("java.home"), "bin").toString();
    try (ToolsNetwork network = new ToolsNetwork(directory, policy).greets()) {
      Tool.script(
          directory,
          java
              + "/keytool -importcert -noprompt -alias ca -file ca.pem -keystore trust.p12"
              + " -storetype PKCS12 -storepass secret");
      Ended ended =
          network.run(
              java
                  + "/java -XX:TieredStopAtLevel=1 -Djavax.net.ssl.trustStore=trust.p12"
                  + " -Djavax.net.ssl.trustStorePassword=secret "
                  + program
                  + " http://a.example/plain http://a.example/post https://a.example/tls"
                  + " http://denied.example/");
      assertEquals(
          "200 hello a.example\n".repeat(3)
              // One that asks for HTTP/2 with content behind it.
              + "IOException\n"
              + "200 hello a.example\n".repeat(2)
              + "ConnectException\n".repeat(2),
          ended.output());
      network.assertDenied(DenialReason.WRONG_PROTOCOL);
    }
  }

  @Test
  void aTunnelThroughNamesCarriesNothing() throws Exception {
    NetworkPolicy policy = NetworkPolicy.builder().allow(Egress.https("*.wild.example")).build();
    try (ToolsNetwork network = new ToolsNetwork(directory, policy)) {
      // As iodine asks, in the order in which it tries types, with labels that are full of content.
      Ended ended =
          network.run(
              """
              label=0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopq
              for type in NULL PRIVATE TXT SRV MX CNAME A AAAA; do
                for resolver in 198.18.0.1 8.8.8.8; do
                  dig @$resolver -t ${type/PRIVATE/TYPE65399} vaaaakat6rq.tunnel.example
                  dig @$resolver -t ${type/PRIVATE/TYPE65399} $label.$label.$label.tunnel.example
                done
              done
              """);
      assertEquals(0, ended.code(), ended.output());
      assertEquals(32, ended.output().split("status: NXDOMAIN", -1).length - 1, ended.output());
      assertEquals(List.of(), network.upstream.asked());
      assertEquals(32L, network.statistics().dnsDenied().get(DenialReason.NO_RULE), ended.output());
    }
  }
}
