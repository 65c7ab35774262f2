// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.FlowDenied;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.PublishedPort;
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
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import org.jspecify.annotations.Nullable;

/**
 * Programs of this machine in a sandbox's network without a machine: in a network namespace, whose
 * interface the agent's code serves (network_on_socket), with this process as its host. Servers are
 * the test's, which stand for a public address.
 */
final class ToolsNetwork implements AutoCloseable {
  static final String NAME = "a.example";
  static final String ADDRESS = "93.184.216.34";

  private final Path directory;
  private final NetworkPolicy policy;
  private final List<PublishedPort> published;
  private final NetworkLoop loop = new NetworkLoop("test-network");
  private final List<NetworkEvent> events = new CopyOnWriteArrayList<>();
  private final Map<InetSocketAddress, InetSocketAddress> routes = new ConcurrentHashMap<>();
  private final List<String> requests = new CopyOnWriteArrayList<>();
  private final List<HttpServer> servers = new ArrayList<>();
  final PlayedNameServer upstream;
  private NetworkStatistics statistics = NetworkStatistics.builder().build();
  private Duration limit = Duration.ofSeconds(60);
  private InetSocketAddress nameServer;

  /** What a program said, and how it ended. */
  record Ended(int code, String output) {}

  /**
   * @param directory where programs run, and where the certificate ca.pem is put
   */
  ToolsNetwork(Path directory, NetworkPolicy policy, PublishedPort... published) throws Exception {
    assumePossible();
    this.directory = directory;
    this.policy = policy;
    this.published = List.of(published);
    upstream =
        new PlayedNameServer()
            .has(NAME, ADDRESS)
            .has(NAME, DnsType.AAAA)
            .has("x.wild.example", ADDRESS)
            .has("x.wild.example", DnsType.AAAA);
    nameServer = upstream.address();
  }

  /**
   * Runs a class's main on a host of its own, a network namespace whose loopback alone is up, so
   * that neither routes nor interfaces of this machine's change.
   *
   * @return what it has printed
   */
  static String onAnotherHost(Class<?> program, String... arguments) {
    List<String> command =
        new ArrayList<>(
            List.of(
                "unshare",
                "-n",
                "sh",
                "-c",
                "ip link set lo up && exec \"$@\"",
                "sh",
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                program.getName()));
    command.addAll(List.of(arguments));
    return Tool.run(Path.of("").toAbsolutePath(), command);
  }

  /** Whom names are asked of, in place of {@link #upstream}. */
  ToolsNetwork asks(InetSocketAddress server) {
    nameServer = server;
    return this;
  }

  /** Skips a test where there is none. */
  static void assumePossible() {
    assumeTrue(Files.isExecutable(program()), "guest-agent/cargo.sh test has not been run");
    assumeTrue(
        Files.exists(Path.of("/dev/net/tun")) && Files.isWritable(Path.of("/proc/1/oom_score_adj")),
        "it takes root and /dev/net/tun");
  }

  /** Serves HTTP and HTTPS that greet, at the usual ports. */
  ToolsNetwork greets() throws Exception {
    return serves(
        exchange -> {
          String host = exchange.getRequestHeaders().getFirst("Host");
          requests.add(exchange.getProtocol() + " " + host + " " + exchange.getRequestURI());
          return ("hello " + host + "\n").getBytes(ISO_8859_1);
        });
  }

  /** What is answered to a request; null where it is not found. */
  interface Answer {
    byte @Nullable [] to(HttpExchange exchange) throws IOException;
  }

  /** Serves HTTP and HTTPS at the usual ports. */
  ToolsNetwork serves(Answer answer) throws Exception {
    HttpsServer https = HttpsServer.create(local(), 50);
    https.setHttpsConfigurator(new HttpsConfigurator(certificate()));
    serve(https, 443, answer);
    serve(HttpServer.create(local(), 50), 80, answer);
    return this;
  }

  private void serve(HttpServer server, int port, Answer answer) {
    servers.add(server);
    server.createContext(
        "/",
        exchange -> {
          exchange.getRequestBody().readAllBytes();
          byte[] body = answer.to(exchange);
          if (body == null) {
            exchange.sendResponseHeaders(404, -1);
          } else {
            exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
            exchange.getResponseBody().write(body);
          }
          exchange.close();
        });
    server.start();
    route(port, server.getAddress());
  }

  /** What stands for {@link #ADDRESS} on that port. */
  void route(int port, InetSocketAddress server) {
    routes.put(new InetSocketAddress(ADDRESS, port), server);
  }

  @Override
  public void close() throws IOException {
    upstream.close();
    servers.forEach(server -> server.stop(0));
    loop.close();
  }

  private static Path program() {
    Path built = Path.of("guest-agent/target/cargo/x86_64-unknown-linux-gnu/debug");
    return Path.of("").toAbsolutePath().resolveSibling(built).resolve("network_on_socket");
  }

  private static InetSocketAddress local() {
    return new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
  }

  private SSLContext certificate() throws Exception {
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

  /** What is done from outside. */
  interface Meanwhile {
    void with(HostNetwork network) throws Exception;
  }

  /** Runs a script of bash's in a sandbox's network. */
  Ended run(String script) throws Exception {
    return run(script, network -> {});
  }

  /** Scripts may take so long. */
  void allow(Duration time) {
    limit = time;
  }

  /**
   * Runs a script of bash's in a sandbox's network.
   *
   * @param meanwhile after which its standard input ends
   */
  Ended run(String script, Meanwhile meanwhile) throws Exception {
    Path socket = Files.createTempDirectory(directory, "link").resolve("link");
    Path output = socket.resolveSibling("output");
    Surroundings surroundings =
        TestNetwork.surroundings(
            true,
            NameServers.of(List.of(nameServer), Duration.ofSeconds(15)),
            NetworkMemory.ofRuntime(),
            address -> routes.getOrDefault(address, address));
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        Publisher publisher = new Publisher(published);
        HostNetwork network =
            TestNetwork.host(
                loop,
                surroundings,
                events::add,
                policy,
                publisher,
                new Pins(System::nanoTime, Pins.CAPACITY))) {
      server.bind(UnixDomainSocketAddress.of(socket));
      ProcessBuilder builder =
          new ProcessBuilder(program().toString(), socket.toString(), "bash", "-uc", script)
              .directory(directory.toFile())
              .redirectErrorStream(true)
              .redirectOutput(output.toFile());
      // Nothing that has tools trust others, or go through a proxy.
      builder.environment().keySet().retainAll(Set.of("PATH", "HOME"));
      builder.environment().put("LC_ALL", "C");
      Process process = builder.start();
      try {
        SocketChannel accepted = server.accept();
        network.accept(new SocketGuestConnection(accepted));
        try {
          meanwhile.with(network);
        } catch (AssertionError e) {
          throw new AssertionError(e.getMessage() + "; it has said: " + read(output), e);
        }
        process.getOutputStream().close();
        assertTrue(
            process.waitFor(limit.toSeconds(), TimeUnit.SECONDS),
            () -> "it does not end: " + read(output));
      } finally {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
      }
      statistics = network.statistics();
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

  /** What was asked of {@link #greets()}. */
  List<String> requests() {
    return requests;
  }

  /** Of the network that was there last. */
  NetworkStatistics statistics() {
    return statistics;
  }

  void assertDenied(DenialReason reason) {
    assertTrue(
        events.stream().anyMatch(e -> e instanceof FlowDenied d && d.reason() == reason),
        () -> events.toString());
  }
}
