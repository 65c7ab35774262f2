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
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.net.PlayedNameServer;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.PublishedPort;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URL;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
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
  private static final Duration PATIENCE = Duration.ofMinutes(2);

  /** The host's first service, as the guest sees it. */
  private static final String SERVICE = "198.18.1.1";

  private final String kernel;
  private final BlockingQueue<NetworkEvent> events = new LinkedBlockingQueue<>();
  private final byte[] page = new byte[200_000];
  private HttpServer server;
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
    before = ThreadBaseline.now();
    nacelle =
        builder().cacheDirectory(TestKernels.CACHE).nameServers(List.of(names.address())).build();
    policy =
        NetworkPolicy.builder()
            .hostService("web", server.getAddress())
            .allow(Egress.https("a.example"))
            .build();
    image = TestImages.busybox(directory.resolve("image"));
    sandbox = nacelle.start(spec().publish(WEB, ECHO).networkListener(events::add).build());
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

  private <T extends NetworkEvent> T event(Class<T> type) throws InterruptedException {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      NetworkEvent event = events.poll(end - System.nanoTime(), TimeUnit.NANOSECONDS);
      if (event == null) {
        throw new AssertionError("there is no " + type.getSimpleName());
      }
      assertEquals(sandbox.id(), event.sandboxId());
      if (type.isInstance(event)) {
        return type.cast(event);
      }
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
    events.clear();
    NetworkStatistics earlier = sandbox.network().statistics();
    assertEquals(new String(page, UTF_8), output("busybox wget -q -O - " + url()));
    NetworkEvent.FlowAllowed allowed = event(NetworkEvent.FlowAllowed.class);
    assertEquals(InetAddress.getByName(SERVICE), allowed.flow().remote());
    assertEquals(NetworkEvent.Direction.OUTBOUND, allowed.flow().direction());
    NetworkEvent.FlowEnded ended = event(NetworkEvent.FlowEnded.class);
    assertEquals(allowed.flow().number(), ended.flow().number());
    assertTrue(ended.received() > page.length, ended::toString);
    NetworkStatistics now = sandbox.network().statistics();
    assertEquals(earlier.opened() + 1, now.opened());
    assertEquals(earlier.sent() + ended.sent(), now.sent());
    assertEquals(earlier.received() + ended.received(), now.received());
    assertEquals(0, now.openFlows());
  }

  @Test
  void namesAreAskedOfTheHost() throws Exception {
    events.clear();
    String found =
        output("busybox nslookup -type=a a.example && busybox nslookup -type=a a.example 8.8.8.8");
    assertEquals(2, found.split("Address: 93.184.216.34\n", -1).length - 1, found);
    NetworkEvent.NameResolved resolved = event(NetworkEvent.NameResolved.class);
    assertEquals("a.example", resolved.name());
    ExecResult denied = sandbox.exec("busybox", "nslookup", "-type=a", "denied.example");
    assertTrue(denied.stdout().text().contains("NXDOMAIN"), denied::toString);
    assertEquals("denied.example", event(NetworkEvent.NameDenied.class).name());
    assertEquals(List.of("a.example", "a.example"), names.names());
    String service = "http://web.host.internal:" + server.getAddress().getPort() + "/";
    assertEquals(page.length, output("busybox wget -q -O - " + service).length());
  }

  @Test
  void aServiceOfTheHostsHasANameAndNothingElseHas() throws Exception {
    events.clear();
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
    events.clear();
    long earlier = denied();
    assertEquals(
        "nc: can't connect to remote host (192.0.2.1): No route to host\n",
        refusal("192.0.2.1", 80));
    assertEquals(
        "nc: can't connect to remote host (127.0.0.1): Connection refused\n",
        refusal("127.0.0.1", server.getAddress().getPort()));
    NetworkEvent.FlowDenied denied = event(NetworkEvent.FlowDenied.class);
    assertEquals(DenialReason.NO_RULE, denied.reason());
    assertEquals(InetAddress.getByName("192.0.2.1"), denied.flow().remote());
    assertEquals(80, denied.flow().port());
    assertEquals(earlier + 1, denied());
  }

  private long denied() {
    return sandbox.network().statistics().denied().getOrDefault(DenialReason.NO_RULE, 0L);
  }

  @Test
  void aServerInItIsReachedOnItsPublishedPort() throws Exception {
    SandboxNetwork network = sandbox.network();
    GuestProcessInfo web =
        sandbox.startDetached(
            "sh",
            "-c",
            "mkdir -p /srv/www && echo hello >/srv/www/a && exec busybox httpd -f -p"
                + " 8000 -h /srv/www");
    network.awaitPort(8000, PATIENCE);
    try (InputStream body =
        new URL("http://127.0.0.1:" + network.published(8000).getPort() + "/a").openStream()) {
      assertEquals("hello\n", new String(body.readAllBytes(), UTF_8));
    }
    sandbox.signal(web, Signal.KILL, SignalScope.TREE);
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
    String nc = "busybox nc " + SERVICE + " " + server.getAddress().getPort();
    try (GuestProcess client = sandbox.start("sh", "-c", nc)) {
      events.clear();
      client.stdin().write("GET / HTTP/1.1\r\n".getBytes(UTF_8));
      client.stdin().flush();
      while (network.statistics().openFlows() == 0) {
        Thread.sleep(10);
      }
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
}
