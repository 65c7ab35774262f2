// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.net.httpserver.HttpServer;
import dev.nacelle.image.ImageRef;
import dev.nacelle.internal.ThreadBaseline;
import dev.nacelle.internal.Words;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.net.PlayedNameServer;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.network.Rate;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.PortUnreachableException;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a program in a sandbox finds of its network, and who is outside of it. Each hypervisor's
 * tests extend it, and so do those of the agent without a machine.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@Timeout(value = 10, unit = TimeUnit.MINUTES)
public abstract class AbstractNetworkContractTest {
  private static final PublishedPort WEB = PublishedPort.tcp(8000);
  private static final PublishedPort ECHO = PublishedPort.tcp(7);
  private static final PublishedPort DATAGRAMS = PublishedPort.udp(9);
  private static final PublishedPort PEERS = PublishedPort.tcp(13).keepPeerAddress(true);
  private static final String SITE = "site.example";
  private static final Duration PATIENCE = Duration.ofMinutes(2);

  /** The host's first service, as the guest sees it. */
  private static final String SERVICE = "198.18.1.1";

  private final String kernel;
  private final BlockingQueue<NetworkEvent> events = new LinkedBlockingQueue<>();

  /** When this test began to look at them. */
  private Instant since = Instant.MIN;

  private final byte[] page = new byte[200_000];
  private HttpServer server;
  private @Nullable OtherHost other;
  private PlayedNameServer names;
  private ThreadBaseline before;
  private Nacelle nacelle;
  private ImageRef image;
  private NetworkPolicy policy;
  private Sandbox sandbox;

  /**
   * @param kernel as {@link dev.nacelle.kernel.KernelRef#parse} takes it
   */
  protected AbstractNetworkContractTest(String kernel) {
    this.kernel = kernel;
  }

  /** With the hypervisor that is tested; by default the one that works here. */
  protected Nacelle.Builder builder() {
    return Nacelle.builder();
  }

  @BeforeAll
  void start(@TempDir Path directory) throws IOException {
    for (int i = 0; i < page.length; i++) {
      page[i] = (byte) ('a' + i % 26);
    }
    server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
    server.createContext(
        "/",
        exchange -> {
          exchange.sendResponseHeaders(200, page.length);
          exchange.getResponseBody().write(page);
          exchange.close();
        });
    server.start();
    names = new PlayedNameServer().has("a.example", "93.184.216.34");
    other = OtherHost.start(Files.createDirectory(directory.resolve("other")));
    before = ThreadBaseline.now();
    nacelle =
        builder().cacheDirectory(TestKernels.CACHE).nameServers(List.of(names.address())).build();
    NetworkPolicy.Builder rules =
        NetworkPolicy.builder()
            .hostService("web", server.getAddress())
            .allow(Egress.https("a.example"));
    PublishedPort peers = PEERS;
    if (other != null) {
      names.has(SITE, other.ipv4).has(SITE, other.ipv6);
      rules
          .allow(Egress.web(SITE).mayBePrivate())
          .allow(Egress.addresses(other.ipv4, other.ipv6).tcp(8080).udp(7));
      peers = PEERS.onAddress(InetAddress.getByName(other.ours));
    }
    policy = rules.build();
    // An nc that knows UDP, and TLS of which wget makes use.
    image = TestImages.busybox(directory.resolve("image"), "/bin/nc.openbsd", "/usr/bin/openssl");
    sandbox =
        nacelle.start(
            spec().publish(WEB, ECHO, DATAGRAMS, peers).networkListener(events::add).build());
  }

  /** With a network that leads to {@link #url()}. */
  private SandboxSpec.Builder spec() {
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel)
        .memory(DataSize.mebibytes(192))
        .hostname("box")
        .user("0")
        .startTimeout(Duration.ofMinutes(10))
        .stopGrace(Duration.ZERO)
        .network(policy);
  }

  /** Starts another sandbox with a network, and has the page fetched there. */
  protected void assertReached(UnaryOperator<SandboxSpec.Builder> differently) {
    try (Sandbox other = nacelle.start(differently.apply(spec()).build())) {
      ExecResult fetched = other.exec("busybox", "wget", "-q", "-O", "-", url());
      assertEquals(new String(page, UTF_8), fetched.orThrow().stdout().text());
      assertEquals(1, other.network().statistics().opened());
    }
  }

  @AfterAll
  void closingEndsAllOfItAtOnce() throws Exception {
    startWebServer();
    InetSocketAddress published = sandbox.network().published(8000);
    try (Socket open = new Socket(published.getAddress(), published.getPort())) {
      sandbox.close();
      assertThrows(IOException.class, () -> readToTheEnd(open));
    }
    assertRefused(published);
    nacelle.close();
    before.assertEnded();
    server.stop(0);
    names.close();
    if (other != null) {
      other.close();
    }
  }

  private static void readToTheEnd(Socket socket) throws IOException {
    socket.getInputStream().readAllBytes();
    throw new IOException("it has ended");
  }

  private static void assertRefused(InetSocketAddress address) {
    assertThrows(
        ConnectException.class,
        () -> new Socket(address.getAddress(), address.getPort()).close(),
        address::toString);
  }

  private String output(String script) {
    ExecResult result = sandbox.exec("sh", "-c", script);
    assertEquals(0, result.exitCode(), result::toString);
    return result.stdout().text();
  }

  /** What an attempt to connect says. */
  private String refusal(String address, int port) {
    ExecResult result =
        sandbox.exec("sh", "-c", "busybox nc -w 20 " + address + " " + port + " </dev/null");
    assertEquals(1, result.exitCode(), result::toString);
    return result.stderr().text();
  }

  private String url() {
    return "http://" + SERVICE + ":" + server.getAddress().getPort() + "/";
  }

  /** What has happened until now is no event of this test, although it may yet be told. */
  private void forgetEvents() {
    since = Instant.now();
    events.clear();
  }

  private <T extends NetworkEvent> T event(Class<T> type) throws InterruptedException {
    return event(type, event -> true);
  }

  private <T extends NetworkEvent> T event(Class<T> type, Predicate<T> wanted)
      throws InterruptedException {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      NetworkEvent event = events.poll(end - System.nanoTime(), TimeUnit.NANOSECONDS);
      if (event == null) {
        throw new AssertionError("there is no " + type.getSimpleName());
      }
      assertEquals(sandbox.id(), event.sandboxId());
      if (type.isInstance(event)
          && !event.time().isBefore(since)
          && wanted.test(type.cast(event))) {
        return type.cast(event);
      }
    }
  }

  /** One of another test may end late. */
  private void awaitNoFlows() throws InterruptedException {
    awaitStatistics(sandbox.network(), now -> now.openFlows() == 0);
  }

  private static void awaitStatistics(SandboxNetwork network, Predicate<NetworkStatistics> wanted)
      throws InterruptedException {
    long end = System.nanoTime() + PATIENCE.toNanos();
    NetworkStatistics now = network.statistics();
    while (!wanted.test(now)) {
      assertTrue(System.nanoTime() < end, now::toString);
      Thread.sleep(10);
      now = network.statistics();
    }
  }

  @Test
  void itHasAnInterfaceAndTheNamesThatGoWithIt() {
    String routes = "busybox tail -n +2 /proc/net/route | busybox cut -f1 | busybox sort -u";
    assertEquals("tun0\n", output(routes));
    String up = "busybox ip -4 -o address show | busybox tr -s ' ' | busybox cut -d' ' -f2,4";
    assertEquals("lo 127.0.0.1/8\ntun0 198.18.0.2/30\n", output(up));
    assertEquals("nameserver 198.18.0.1\n", output("cat /etc/resolv.conf"));
    assertTrue(output("cat /etc/hosts").endsWith("198.18.0.2\tbox\n"));
    assertEquals("box\n", output("echo $HOSTNAME"));
  }

  @Test
  void itReachesAServiceOfTheHosts() throws Exception {
    awaitNoFlows();
    forgetEvents();
    NetworkStatistics earlier = sandbox.network().statistics();
    assertEquals(new String(page, UTF_8), output("busybox wget -q -O - " + url()));
    NetworkEvent.FlowAllowed allowed = event(NetworkEvent.FlowAllowed.class);
    assertEquals(InetAddress.getByName(SERVICE), allowed.flow().remote());
    assertEquals(NetworkEvent.Direction.OUTBOUND, allowed.flow().direction());
    // Another test's datagrams may be idle for so long by now that their flow ends.
    NetworkEvent.FlowEnded ended =
        event(
            NetworkEvent.FlowEnded.class,
            event -> event.flow().number() == allowed.flow().number());
    assertTrue(ended.received() > page.length, ended::toString);
    NetworkStatistics now = sandbox.network().statistics();
    assertEquals(earlier.opened() + 1, now.opened());
    assertEquals(earlier.sent() + ended.sent(), now.sent());
    assertEquals(earlier.received() + ended.received(), now.received());
    assertEquals(0, now.openFlows());
  }

  @Test
  void namesAreAskedOfTheHost() throws Exception {
    forgetEvents();
    // It waits for five seconds unless it is told to wait longer.
    String lookUp = "busybox nslookup -timeout=60 -type=a ";
    String found = output(lookUp + "a.example && " + lookUp + "a.example 8.8.8.8");
    assertEquals(2, found.split("Address: 93.184.216.34\n", -1).length - 1, found);
    NetworkEvent.NameResolved resolved = event(NetworkEvent.NameResolved.class);
    assertEquals("a.example", resolved.name());
    ExecResult denied = sandbox.exec("sh", "-c", lookUp + "denied.example");
    assertTrue(denied.stdout().text().contains("NXDOMAIN"), denied::toString);
    assertEquals("denied.example", event(NetworkEvent.NameDenied.class).name());
    List<String> asked = names.names().stream().filter(name -> !name.equals(SITE)).toList();
    // Once more where the answer is slow to come.
    assertEquals(Set.of("a.example"), Set.copyOf(asked));
    assertTrue(asked.size() >= 2, asked::toString);
    String service = "http://web.host.internal:" + server.getAddress().getPort() + "/";
    assertEquals(page.length, output("busybox wget -q -O - " + service).length());
  }

  @Test
  void aServiceOfTheHostsHasANameAndNothingElseHas() throws Exception {
    forgetEvents();
    String byName = url().replace(SERVICE, "web.host.internal");
    assertEquals(page.length, output("busybox wget -q -O - " + byName).length());
    NetworkEvent.NameResolved resolved = event(NetworkEvent.NameResolved.class);
    assertEquals("web.host.internal", resolved.name());
    assertEquals(List.of(InetAddress.getByName(SERVICE)), resolved.addresses());
    ExecResult denied =
        sandbox.exec("sh", "-c", "busybox wget -q -O - http://packages.example.org/");
    assertEquals(1, denied.exitCode(), denied::toString);
    assertTrue(denied.stderr().text().contains("bad address"), denied::toString);
    NetworkEvent.NameDenied told = event(NetworkEvent.NameDenied.class);
    assertEquals("packages.example.org", told.name());
    assertEquals(DenialReason.NO_RULE, told.reason());
    assertTrue(output("cat /run/nacelle/network/denied").contains("packages.example.org"));
  }

  @Test
  void whatIsNotAllowedIsUnreachableAtOnce() throws Exception {
    forgetEvents();
    long earlier = denied();
    assertEquals(
        "nc: can't connect to remote host (192.0.2.1): No route to host\n",
        refusal("192.0.2.1", 81));
    assertEquals(
        "nc: can't connect to remote host (127.0.0.1): Connection refused\n",
        refusal("127.0.0.1", server.getAddress().getPort()));
    NetworkEvent.FlowDenied denied = event(NetworkEvent.FlowDenied.class);
    assertEquals(DenialReason.NO_RULE, denied.reason());
    assertEquals(InetAddress.getByName("192.0.2.1"), denied.flow().remote());
    assertEquals(81, denied.flow().port());
    assertEquals(earlier + 1, denied());
  }

  private long denied() {
    return sandbox.network().statistics().denied().getOrDefault(DenialReason.NO_RULE, 0L);
  }

  @Test
  void aServerInItIsReachedOnItsPublishedPort() throws Exception {
    GuestProcessInfo web = startWebServer();
    InetSocketAddress published = sandbox.network().published(8000);
    try (InputStream body =
        new URL("http://127.0.0.1:" + published.getPort() + "/a").openStream()) {
      assertEquals("hello\n", new String(body.readAllBytes(), UTF_8));
    }
    sandbox.signal(web, Signal.KILL, SignalScope.TREE);
  }

  private GuestProcessInfo startWebServer() {
    String serve =
        "mkdir -p /srv/www && echo hello >/srv/www/a && busybox httpd -f -p 8000 -h /srv/www";
    GuestProcessInfo started = sandbox.startDetached("sh", "-c", serve);
    sandbox.network().awaitPort(8000, PATIENCE);
    return started;
  }

  @Test
  void whereNobodyListensAConnectionIsReset() throws Exception {
    InetSocketAddress published = sandbox.network().published(7);
    // It may be reset before it is known to be connected.
    assertThrows(
        IOException.class,
        () -> {
          try (Socket socket = new Socket(published.getAddress(), published.getPort())) {
            readToTheEnd(socket);
          }
        });
  }

  @Test
  void anUpdateEndsWhatItDoesNotAllow() throws Exception {
    SandboxNetwork network = sandbox.network();
    awaitNoFlows();
    String nc = "busybox nc " + SERVICE + " " + server.getAddress().getPort();
    try (GuestProcess client = sandbox.start("sh", "-c", nc)) {
      forgetEvents();
      client.stdin().write("GET / HTTP/1.1\r\n".getBytes(UTF_8));
      client.stdin().flush();
      awaitStatistics(network, now -> now.openFlows() > 0);
      network.update(NetworkPolicy.none());
      assertEquals(0, network.statistics().openFlows());
      assertEquals(DenialReason.NO_RULE, event(NetworkEvent.FlowDenied.class).reason());
      client.waitFor();
    }
    assertTrue(refusal(SERVICE, server.getAddress().getPort()).contains("No route to host"));
    network.update(policy);
    assertEquals(page.length, output("busybox wget -q -O - " + url()).length());
  }

  @Test
  void aConnectionOutlivesAPause() throws Exception {
    GuestProcessInfo echo = sandbox.startDetached("busybox", "nc", "-ll", "-p", "7", "-e", "cat");
    sandbox.network().awaitPort(7, PATIENCE);
    InetSocketAddress published = sandbox.network().published(7);
    try (Socket socket = new Socket(published.getAddress(), published.getPort())) {
      socket.getOutputStream().write('a');
      assertEquals('a', socket.getInputStream().read());
      Pause pause;
      try {
        pause = sandbox.pause();
      } catch (UnsupportedOperationException e) {
        assumeTrue(false, "it cannot be paused");
        throw e;
      }
      socket.getOutputStream().write('b');
      pause.close();
      assertEquals('b', socket.getInputStream().read());
    } finally {
      sandbox.signal(echo, Signal.KILL, SignalScope.TREE);
    }
  }

  private OtherHost otherHost() {
    OtherHost there = other;
    assumeTrue(there != null, "it takes root to have another host");
    return Objects.requireNonNull(there);
  }

  @Test
  void datagramsGoOutAndComeBack() throws Exception {
    OtherHost there = otherHost();
    for (String address : List.of(there.ipv4, there.ipv6)) {
      NetworkStatistics earlier = sandbox.network().statistics();
      // It ends after one.
      assertEquals("hello", output("printf hello | nc.openbsd -u -W 1 " + address + " 7"));
      NetworkStatistics now = sandbox.network().statistics();
      assertEquals(earlier.sent() + 5, now.sent());
      assertEquals(earlier.received() + 5, now.received());
    }
    forgetEvents();
    // A second one finds that the first was refused.
    ExecResult refused =
        sandbox.exec(
            "sh",
            "-c",
            "(for i in $(busybox seq 60); do echo x; busybox sleep 1; done)"
                + " | nc.openbsd -v -u 192.0.2.1 443");
    assertEquals(1, refused.exitCode(), refused::toString);
    assertEquals(443, event(NetworkEvent.FlowDenied.class).flow().port());
  }

  @Test
  void datagramsComeInAndAreAnswered() throws Exception {
    GuestProcessInfo echo =
        sandbox.startDetached(
            "sh", "-c", "cd /tmp && mkfifo back && nc.openbsd -u -l 9 <back | busybox tee back");
    InetSocketAddress published = sandbox.network().published().get(DATAGRAMS);
    try (DatagramSocket client = new DatagramSocket()) {
      client.connect(published);
      client.setSoTimeout(200);
      DatagramPacket answer = new DatagramPacket(new byte[100], 100);
      for (int i = 0; answer.getLength() != 5; i++) {
        assertTrue(i < 600, "no answer comes");
        try {
          // It may not listen yet.
          client.send(new DatagramPacket("hello".getBytes(UTF_8), 5));
          client.receive(answer);
        } catch (SocketTimeoutException | PortUnreachableException e) {
          answer.setLength(100);
        }
      }
      assertEquals("hello", new String(answer.getData(), 0, 5, UTF_8));
    } finally {
      sandbox.signal(echo, Signal.KILL, SignalScope.TREE);
    }
  }

  @Test
  void itHasIpv6WhereTheHostHas() throws Exception {
    OtherHost there = otherHost();
    String addresses =
        output(
            "busybox ip -6 -o address show dev tun0 | busybox tr -s ' ' | busybox cut -d' ' -f4");
    assertTrue(addresses.contains("fd6e:6163:656c::2/64\n"), addresses);
    String page = output("busybox wget -q -O - 'http://[" + there.ipv6 + "]:8080/'");
    assertEquals("hello [" + there.ipv6 + "]:8080 /\n", page);
    assertTrue(refusal("2001:db8:0:1::9", 80).contains("Permission denied"));
    assertTrue(refusal("::1", 80).contains("Connection refused"));
    assertTrue(refusal("::ffff:169.254.169.254", 80).contains("No route to host"));
  }

  @Test
  void aHandshakeHasToNameWhomItIsAllowedToReach() throws Exception {
    otherHost();
    assertEquals(
        "hello site.example /x\n",
        output("busybox wget -q --no-check-certificate -O - https://site.example/x"));
    forgetEvents();
    // As a neighbour on the same server.
    ExecResult neighbour =
        sandbox.exec(
            "openssl", "s_client", "-connect", SITE + ":443", "-servername", "other.example");
    assertEquals(1, neighbour.exitCode(), neighbour::toString);
    NetworkEvent.FlowDenied denied = event(NetworkEvent.FlowDenied.class);
    assertEquals(DenialReason.SNI_MISMATCH, denied.reason());
    assertEquals("other.example", denied.said());
    assertEquals(List.of(SITE), denied.names());
  }

  @Test
  void everyRequestHasToNameWhomItIsAllowedToReach() throws Exception {
    otherHost();
    assertEquals("hello site.example /x\n", output("busybox wget -q -O - http://site.example/x"));
    forgetEvents();
    ExecResult refused =
        sandbox.exec("sh", "-c", "busybox wget -O - --header 'Host: other.example' http://" + SITE);
    assertEquals(1, refused.exitCode(), refused::toString);
    assertEquals("", refused.stdout().text());
    NetworkEvent.FlowDenied denied = event(NetworkEvent.FlowDenied.class);
    assertEquals(DenialReason.HOST_MISMATCH, denied.reason());
    assertEquals("other.example", denied.said());
  }

  @Test
  void aProgramIsToldWhoConnectsWhereThatIsAskedFor() throws Exception {
    OtherHost there = otherHost();
    try (GuestProcess peers = sandbox.start("nc.openbsd", "-v", "-n", "-l", "13")) {
      // Not probed, since it takes one alone.
      InputStream said = peers.stderr();
      String line = Words.until("\n", said);
      assertTrue(line.startsWith("Listening on"), line);
      InetSocketAddress published =
          sandbox.network().published().entrySet().stream()
              .filter(entry -> entry.getKey().guestPort() == 13)
              .findFirst()
              .orElseThrow()
              .getValue();
      try (Socket socket = new Socket(published.getAddress(), published.getPort())) {
        socket.shutdownOutput();
        assertEquals(-1, socket.getInputStream().read());
        String told = new String(said.readAllBytes(), UTF_8);
        assertEquals(
            "Connection received on " + there.ours + " " + socket.getLocalPort() + "\n", told);
      }
    }
  }

  @Test
  void limitsHoldAndAreLifted() throws Exception {
    SandboxNetwork network = sandbox.network();
    awaitNoFlows();
    long earlier = network.statistics().received();
    network.update(
        policy.toBuilder()
            .limits(
                NetworkLimits.builder()
                    .flows(1)
                    .ingress(Rate.perSecond(1).withBurst(20_000))
                    .build())
            .build());
    try (GuestProcess client = sandbox.start("busybox", "wget", "-q", "-O", "-", url())) {
      awaitStatistics(network, now -> now.received() >= earlier + 20_000);
      forgetEvents();
      ExecResult second = sandbox.exec("busybox", "wget", "-q", "-O", "-", url());
      assertEquals(1, second.exitCode(), second::toString);
      event(NetworkEvent.LimitReached.class, event -> event.limit() == NetworkEvent.Limit.FLOWS);
      assertTrue(network.statistics().received() < earlier + 21_000);
      network.update(policy);
      assertEquals(page.length, client.stdout().readAllBytes().length);
    } finally {
      network.update(policy);
    }
  }

  @Test
  void connectionsLeaveThroughTheUpstreamProxy() throws Exception {
    try (ServerSocket proxy = new ServerSocket(0, 5, InetAddress.getByName("127.0.0.1"));
        GuestProcess client = throughProxy(proxy)) {
      try (Socket proxied = proxy.accept()) {
        assertEquals("CONNECT 93.184.216.34:80 HTTP/1.1", head(proxied));
        proxied.getOutputStream().write("HTTP/1.1 200 OK\r\n\r\n".getBytes(UTF_8));
        assertEquals("GET /x HTTP/1.1", head(proxied));
        String answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
        proxied.getOutputStream().write(answer.getBytes(UTF_8));
        assertEquals("hello\n", new String(client.stdout().readAllBytes(), UTF_8));
      }
      forgetEvents();
      sandbox.exec("sh", "-c", "echo x | nc.openbsd -u -w 1 93.184.216.34 123");
      assertEquals(DenialReason.PROXY, event(NetworkEvent.FlowDenied.class).reason());
    } finally {
      sandbox.network().update(policy);
    }
  }

  private GuestProcess throughProxy(ServerSocket proxy) {
    sandbox
        .network()
        .update(
            NetworkPolicy.internet().toBuilder()
                .upstreamProxy(URI.create("http://127.0.0.1:" + proxy.getLocalPort()))
                .build());
    return sandbox.start("busybox", "wget", "-q", "-O", "-", "http://93.184.216.34/x");
  }

  /** The first line of a head, which is read whole. */
  private static String head(Socket from) throws IOException {
    String head = Words.until("\r\n\r\n", from.getInputStream());
    return head.substring(0, head.indexOf("\r\n"));
  }

  @Test
  void metadataAndTheHostAreClosed() throws Exception {
    try {
      sandbox.network().update(NetworkPolicy.internet());
      for (String address : List.of("169.254.169.254", "100.100.100.200", hostsOwn())) {
        forgetEvents();
        assertTrue(refusal(address, 80).contains("No route to host"), address);
        NetworkEvent.FlowDenied denied = event(NetworkEvent.FlowDenied.class);
        assertEquals(DenialReason.FLOOR, denied.reason(), address);
      }
    } finally {
      sandbox.network().update(policy);
    }
    assertTrue(output("cat /run/nacelle/network/denied").contains("169.254.169.254"));
  }

  /** An address of the host's; where it has none but localhost, one of metadata. */
  private String hostsOwn() {
    return other == null ? "192.0.0.192" : other.ours;
  }

  @Test
  void anotherSandboxIsNotSeenAndItsFloodHarmsNobody() throws Exception {
    try (Sandbox neighbour = nacelle.start(spec().kernel("nacelle:6.12").publish(WEB).build())) {
      neighbour.startDetached("sh", "-c", "mkdir /srv/www && exec busybox httpd -f -p 8000");
      neighbour.network().awaitPort(8000, PATIENCE);
      // Both have the same addresses, each of its own; and what the host publishes is the host's.
      assertTrue(refusal("198.18.0.2", 8000).contains("Connection refused"));
      InetSocketAddress published = neighbour.network().published(8000);
      assertTrue(refusal("198.18.0.1", published.getPort()).contains("No route to host"));
      assertTrue(refusal("127.0.0.1", published.getPort()).contains("Connection refused"));

      GuestProcessInfo flood =
          neighbour.startDetached(
              "sh",
              "-c",
              "for i in 1 2; do (while :; do busybox nc -w 1 192.0.2.1 9 </dev/null; done) &"
                  + " done 2>/dev/null; while :; do echo x; done | nc.openbsd -u 192.0.2.1 9;"
                  + " wait");
      awaitStatistics(
          neighbour.network(), now -> now.denied().getOrDefault(DenialReason.NO_RULE, 0L) >= 20);
      for (int i = 0; i < 3; i++) {
        assertEquals("here\n", output("echo here"));
      }
      assertEquals(page.length, output("busybox wget -q -O - " + url()).length());
      neighbour.signal(flood, Signal.KILL, SignalScope.TREE);
    }
  }
}
