// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.net.PlayedNameServer.Asked;
import dev.nacelle.net.PlayedNameServer.Entry;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.DnsRecordType;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.FlowDenied;
import dev.nacelle.network.NetworkPolicy;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/**
 * This machine's own tools in a sandbox's network without a machine: in a network namespace, whose
 * interface the agent's code serves (network_on_socket), with this process as its host. Servers are
 * the test's, which stand for public addresses.
 */
@Timeout(120)
@EnabledOnOs(value = OS.LINUX, disabledReason = "the guest's half needs a network namespace")
class NetworkToolsTest {
  private static final String NAME = "a.example";
  private static final String ADDRESS = "93.184.216.34";
  private static final NetworkPolicy POLICY =
      NetworkPolicy.builder()
          .allow(Egress.web(NAME, "*.wild.example"))
          .dnsRecords(DnsRecordType.TXT)
          .build();

  private static final int TXT_LENGTH = 255;

  @TempDir private static Path directory;
  private final NetworkLoop loop = new NetworkLoop("test-network");
  private final List<NetworkEvent> events = new CopyOnWriteArrayList<>();
  private final Map<InetSocketAddress, InetSocketAddress> routes = new HashMap<>();
  private final List<String> requests = new CopyOnWriteArrayList<>();
  private PlayedNameServer upstream;
  private HttpServer http;
  private HttpsServer https;

  /** What a program said, and how it ended. */
  private record Ended(int code, String output) {}

  @BeforeEach
  void begin() throws Exception {
    assumeTrue(Files.isExecutable(program()), "guest-agent/cargo.sh test has not been run");
    assumeTrue(
        Files.exists(Path.of("/dev/net/tun")) && Files.isWritable(Path.of("/proc/1/oom_score_adj")),
        "it takes root and /dev/net/tun");
    upstream =
        new PlayedNameServer()
            .has(NAME, ADDRESS)
            .has(NAME, DnsType.AAAA)
            .has("x.wild.example", ADDRESS)
            .has("x.wild.example", DnsType.AAAA);
    http = HttpServer.create(local(), 50);
    serve(http, 80);
    https = HttpsServer.create(local(), 50);
    https.setHttpsConfigurator(new HttpsConfigurator(certificate()));
    serve(https, 443);
  }

  @AfterEach
  void end() throws IOException {
    if (upstream != null) {
      upstream.close();
      http.stop(0);
      https.stop(0);
    }
    loop.close();
  }

  private static Path program() {
    Path built = Path.of("guest-agent/target/cargo/x86_64-unknown-linux-gnu/debug");
    return Path.of("").toAbsolutePath().resolveSibling(built).resolve("network_on_socket");
  }

  private static InetSocketAddress local() {
    return new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
  }

  private void serve(HttpServer server, int port) {
    server.createContext(
        "/",
        exchange -> {
          String host = exchange.getRequestHeaders().getFirst("Host");
          requests.add(exchange.getProtocol() + " " + host + " " + exchange.getRequestURI());
          byte[] body = ("hello " + host + "\n").getBytes(ISO_8859_1);
          exchange.sendResponseHeaders(200, body.length);
          exchange.getResponseBody().write(body);
          exchange.close();
        });
    server.start();
    routes.put(new InetSocketAddress(ADDRESS, port), server.getAddress());
  }

  private static SSLContext certificate() throws Exception {
    Path store = directory.resolve("store.p12");
    if (!Files.exists(store)) {
      Tool.script(
          directory,
          "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=a"
              + " -addext subjectAltName=DNS:a.example,DNS:other.example -keyout key -out ca.pem\n"
              + "openssl pkcs12 -export -in ca.pem -inkey key -out store.p12 -passout pass:secret");
    }
    KeyStore keys = KeyStore.getInstance("PKCS12");
    try (InputStream in = Files.newInputStream(store)) {
      keys.load(in, "secret".toCharArray());
    }
    KeyManagerFactory managers =
        KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    managers.init(keys, "secret".toCharArray());
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(managers.getKeyManagers(), null, null);
    return context;
  }

  /** Runs a script of bash's in a sandbox's network. */
  private Ended run(String script) throws Exception {
    Path socket = Files.createTempDirectory(directory, "link").resolve("link");
    Path output = socket.resolveSibling("output");
    Surroundings surroundings =
        new Surroundings(
            address -> false,
            true,
            NameServers.of(List.of(upstream.address()), Duration.ofSeconds(15)),
            address -> routes.getOrDefault(address, address));
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        Publisher publisher = new Publisher(List.of());
        HostNetwork network =
            new HostNetwork(
                loop,
                surroundings,
                new EventSink("sandbox", events::add, Runnable::run),
                POLICY,
                publisher,
                new Pins(System::nanoTime, Pins.CAPACITY))) {
      server.bind(UnixDomainSocketAddress.of(socket));
      ProcessBuilder builder =
          new ProcessBuilder(program().toString(), socket.toString(), "bash", "-uc", script)
              .directory(directory.toFile())
              .redirectErrorStream(true)
              .redirectOutput(output.toFile());
      builder.environment().put("LC_ALL", "C");
      Process process = builder.start();
      process.getOutputStream().close();
      SocketChannel accepted = server.accept();
      network.accept(new SocketGuestConnection(accepted));
      try {
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), () -> "it does not end: " + read(output));
      } finally {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
      }
      return new Ended(process.exitValue(), read(output));
    }
  }

  private static String read(Path output) {
    try {
      return Files.readString(output, ISO_8859_1);
    } catch (IOException e) {
      return String.valueOf(e);
    }
  }

  private void assertDenied(DenialReason reason) {
    assertTrue(
        events.stream().anyMatch(e -> e instanceof FlowDenied d && d.reason() == reason),
        () -> events.toString());
  }

  private static void assertHas(Ended ended, String... parts) {
    for (String part : parts) {
      assertTrue(ended.output.contains(part), () -> part + " is not in: " + ended);
    }
  }

  @Test
  void digAsksWhomItLikesAndIsAnsweredByTheHost() throws Exception {
    Ended ended =
        run(
            "dig +noall +answer a.example;"
                + "dig +noall +answer @8.8.8.8 a.example;"
                + "dig +noall +answer +tcp @1.1.1.1 x.wild.example;"
                + "dig +noall +answer @2001:4860:4860::8888 x.wild.example");
    assertEquals(0, ended.code, ended.output);
    assertTrue(
        ended.output.matches(
            "(?s)(a\\.example\\.\\s+60\\s+IN\\s+A\\s+93\\.184\\.216\\.34\n){2}"
                + "(x\\.wild\\.example\\.\\s+60\\s+IN\\s+A\\s+93\\.184\\.216\\.34\n){2}"),
        ended.output);
    assertEquals(4, upstream.asked().size());
  }

  @Test
  void digIsToldWhatIsDenied() throws Exception {
    Ended ended =
        run(
            "dig denied.example; dig +tcp denied.example; dig @8.8.8.8 TXT data.tunnel.example;"
                + "dig a.example ANY; dig a.example MX; dig a.example TYPE65;"
                + "dig CH TXT version.bind");
    assertEquals(0, ended.code, ended.output);
    assertEquals(3, count(ended.output, "status: NXDOMAIN"), ended.output);
    assertEquals(3, count(ended.output, "EDE: 15 (Blocked): (no rule"), ended.output);
    // ANY is asked over TCP, MX over UDP.
    assertEquals(2, count(ended.output, "EDE: 15 (Blocked): (the sandbox's"), ended.output);
    assertEquals(3, count(ended.output, "status: NOERROR"), ended.output);
    assertEquals(1, count(ended.output, "status: REFUSED"), ended.output);
    assertFalse(ended.output.contains("WARNING: recursion"), ended.output);
    assertFalse(ended.output.contains("Truncated"), ended.output);
    assertEquals(List.of(), upstream.asked());
  }

  private static int count(String text, String part) {
    return text.split(Pattern.quote(part), -1).length - 1;
  }

  @Test
  void digComesBackOverTcpForWhatDoesNotFit() throws Exception {
    byte[] text = new byte[1 + TXT_LENGTH];
    Arrays.fill(text, (byte) 'x');
    text[0] = (byte) TXT_LENGTH;
    Entry[] many =
        IntStream.range(0, 60)
            .mapToObj(i -> new Entry(NAME, DnsType.TXT, 60, text))
            .toArray(Entry[]::new);
    upstream.answers(
        NAME,
        DnsType.TXT,
        asked ->
            List.of(
                PlayedNameServer.answer(
                    asked, DnsMessage.NOERROR, !asked.tcp(), asked.tcp() ? many : new Entry[0])));
    Ended ended = run("dig a.example TXT");
    assertHas(ended, "Truncated, retrying in TCP mode", "ANSWER: 60,", "(TCP)");
    assertEquals(
        List.of(false, true, false, true), upstream.asked().stream().map(Asked::tcp).toList());
  }

  @Test
  void theCLibraryFindsNames() throws Exception {
    Ended ended =
        run(
            "getent ahosts a.example; getent hosts denied.example; echo $?;"
                + "getent ahostsv4 x.wild.example");
    assertEquals(0, ended.code, ended.output);
    assertHas(ended, ADDRESS + "   STREAM a.example", "2\n", ADDRESS + "   STREAM x.wild.example");
  }

  @Test
  void curlGetsWhatIsAllowedByName() throws Exception {
    Ended ended =
        run(
            "curl -sS --cacert ca.pem https://a.example/tls;"
                + "curl -sS http://a.example/plain http://a.example/again");
    assertEquals(0, ended.code, ended.output);
    assertEquals("hello a.example\nhello a.example\nhello a.example\n", ended.output);
    assertEquals(
        List.of(
            "HTTP/1.1 a.example /tls", "HTTP/1.1 a.example /plain", "HTTP/1.1 a.example /again"),
        requests);
  }

  @Test
  void anotherNameInTheHandshakeEndsIt() throws Exception {
    // As a neighbour at the same address.
    Ended ended =
        run("curl -sSk --connect-to other.example:443:a.example:443 https://other.example/");
    assertEquals(35, ended.code, ended.output);
    assertEquals(List.of(), requests);
    assertDenied(DenialReason.SNI_MISMATCH);
  }

  @Test
  void aHandshakeWithoutANameEndsToo() throws Exception {
    Ended ended = run("getent hosts a.example; curl -sSk https://" + ADDRESS + "/");
    assertEquals(35, ended.code, ended.output);
    assertEquals(List.of(), requests);
    assertDenied(DenialReason.SNI_MISMATCH);
  }

  @Test
  void eachRequestOfAConnectionHasItsHostLookedAt() throws Exception {
    Ended ended =
        run(
            "curl -sS http://a.example/one --next"
                + " -sS -H 'Host: other.example' http://a.example/two");
    assertTrue(ended.code != 0, ended.output);
    assertHas(ended, "hello a.example\n", "curl: (");
    assertEquals(List.of("HTTP/1.1 a.example /one"), requests);
    assertDenied(DenialReason.HOST_MISMATCH);
  }

  @Test
  void anAddressThatWasNotResolvedIsOutOfReachAtOnce() throws Exception {
    Ended ended = run("curl -sS http://" + ADDRESS + "/; curl -sS http://denied.example/");
    assertHas(ended, "curl: (7)", "curl: (6)");
    assertEquals(List.of(), requests);
    assertDenied(DenialReason.NOT_RESOLVED);
  }
}
