// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.ToolsNetwork.ADDRESS;
import static dev.nacelle.net.ToolsNetwork.NAME;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.image.testing.Tool;
import dev.nacelle.net.ToolsNetwork.Ended;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.Rate;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/**
 * What programs find that use a sandbox's network as they use any. How many short connections there
 * are, the system property {@code nacelle.connections} says.
 */
@Timeout(120)
@EnabledOnOs(value = OS.LINUX, disabledReason = "the guest's half needs a network namespace")
class NetworkClientsTest {
  private static final NetworkPolicy WEB = NetworkPolicy.builder().allow(Egress.web(NAME)).build();
  private static final NetworkPolicy ADDRESSES =
      NetworkPolicy.builder()
          .allow(Egress.internet())
          .limits(NetworkLimits.builder().opens(Rate.perSecond(100_000)).build())
          .build();

  /** How a connect ends, in words. */
  private static final String CONNECT =
      """
      def connect(address, port, timeout=20):
          family = socket.AF_INET6 if ':' in address else socket.AF_INET
          with socket.socket(family) as s:
              s.settimeout(timeout)
              try:
                  s.connect((address, port))
                  return 'connected'
              except TimeoutError:
                  return 'waits'
              except OSError as e:
                  return errno.errorcode[e.errno]
      """;

  @TempDir private static Path directory;

  private static ServerSocket listen(int backlog) throws IOException {
    return new ServerSocket(0, backlog, InetAddress.getLoopbackAddress());
  }

  private static InetSocketAddress address(ServerSocket server) {
    return new InetSocketAddress(server.getInetAddress(), server.getLocalPort());
  }

  /** A program in Python that has sockets, and the server's address. */
  private static Ended python(ToolsNetwork network, String program) throws Exception {
    Path file = directory.resolve("program.py");
    Files.writeString(
        file, "import errno, os, select, socket, sys\nSERVER = '" + ADDRESS + "'\n" + program);
    return network.run("exec python3 " + file);
  }

  @Test
  void connectFailsAsItDidAtTheHost() throws Exception {
    try (ToolsNetwork network = new ToolsNetwork(directory, ADDRESSES);
        ServerSocket open = listen(5);
        ServerSocket closed = listen(5)) {
      network.route(1, address(open));
      network.route(2, address(closed));
      closed.close();
      // TCP has no way to a broadcast address.
      network.route(3, new InetSocketAddress("255.255.255.255", 9));
      Ended ended =
          python(
              network,
              CONNECT
                  + """
              print(connect(SERVER, 1))
              print(connect(SERVER, 2))
              print(connect(SERVER, 3))
              print(connect('10.0.0.1', 1))
              print(connect('fd00::1', 1))
              print(connect('169.254.169.254', 80))
              print(connect('::ffff:169.254.169.254', 80))
              print(connect('64:ff9b::a9fe:a9fe', 80))
              with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                  # As QUIC begins, which goes on with TCP then.
                  s.settimeout(20)
                  s.connect(('10.0.0.1', 443))
                  s.send(b'x')
                  try:
                      s.recv(1)
                  except OSError as e:
                      print(errno.errorcode[e.errno])
              """);
      assertEquals(
          "connected\nECONNREFUSED\nENETUNREACH\nEHOSTUNREACH\nEACCES\nEHOSTUNREACH\n"
              + "EHOSTUNREACH\nEACCES\nECONNREFUSED\n",
          ended.output());
    }
  }

  @Test
  void connectToAServerThatIsFullWaitsAsAtTheHost() throws Exception {
    NetworkPolicy policy =
        NetworkPolicy.builder()
            .allow(Egress.internet())
            .limits(NetworkLimits.builder().connectTimeout(Duration.ofSeconds(1)).build())
            .build();
    try (ToolsNetwork network = new ToolsNetwork(directory, policy);
        ServerSocket full = listen(1);
        Socket first = new Socket(full.getInetAddress(), full.getLocalPort());
        Socket second = new Socket(full.getInetAddress(), full.getLocalPort())) {
      network.route(1, address(full));
      Ended ended = python(network, CONNECT + "print(connect(SERVER, 1, 2))\n");
      assertEquals("waits\n", ended.output());
      assertTrue(first.isConnected() && second.isConnected());
    }
  }

  @Test
  void connectFailsAsTheHostsRoutesHaveIt() {
    ToolsNetwork.assumePossible();
    String said = ToolsNetwork.onAnotherHost(NetworkClientsTest.class, directory.toString());
    assertEquals(
        "EHOSTUNREACH\nENETUNREACH\nEHOSTUNREACH\nEHOSTUNREACH\nEHOSTUNREACH\nENETUNREACH\n"
            + "ECONNREFUSED\n",
        said);
  }

  /** On a host of its own: what a sandbox is told of ways that its host has not. */
  public static void main(String[] arguments) throws Exception {
    directory = Path.of(arguments[0]);
    Tool.script(
        directory,
        """
        ip route add unreachable 93.184.216.1
        ip route add prohibit 93.184.216.3
        ip route add blackhole 93.184.216.4
        ip route add unreachable 2606:2800:220:1::1
        """);
    try (ToolsNetwork network = new ToolsNetwork(directory, ADDRESSES)) {
      Ended ended =
          python(
              network,
              CONNECT
                  + """
                  for last in 1, 2, 3, 4:
                      print(connect(f'93.184.216.{last}', 80))
                  for last in 1, 2:
                      print(connect(f'2606:2800:220:1::{last}', 80))
                  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                      s.settimeout(20)
                      s.connect(('93.184.216.1', 443))
                      s.send(b'x')
                      try:
                          s.recv(1)
                      except OSError as e:
                          print(errno.errorcode[e.errno])
                  """);
      System.out.print(ended.output());
    }
  }

  @Test
  void aConnectThatDoesNotBlockIsToldLater() throws Exception {
    try (ToolsNetwork network = new ToolsNetwork(directory, ADDRESSES);
        ServerSocket open = listen(5);
        ServerSocket closed = listen(5)) {
      network.route(1, address(open));
      network.route(2, address(closed));
      closed.close();
      Ended ended =
          python(
              network,
              """
              for port in 1, 2:
                  with socket.socket() as s:
                      s.setblocking(False)
                      print(errno.errorcode[s.connect_ex((SERVER, port))])
                      select.select([], [s], [], 20)
                      error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                      print(errno.errorcode.get(error, 'connected'))
              """);
      assertEquals("EINPROGRESS\nconnected\nEINPROGRESS\nECONNREFUSED\n", ended.output());
    }
  }

  @Test
  void eachSideEndsOnItsOwn() throws Exception {
    try (ToolsNetwork network = new ToolsNetwork(directory, ADDRESSES);
        ServerSocket server = listen(5)) {
      network.route(1, address(server));
      Thread peer =
          new Thread(
              () -> {
                try (Socket one = server.accept();
                    Socket two = server.accept();
                    Socket last = server.accept()) {
                  // The client is first to end; then the server.
                  one.getOutputStream().write(one.getInputStream().readAllBytes());
                  one.close();
                  two.getOutputStream().write("first".getBytes(ISO_8859_1));
                  two.shutdownOutput();
                  byte[] rest = two.getInputStream().readAllBytes();
                  assertEquals(1_000_000, rest.length);
                  last.getOutputStream().write("all".getBytes(ISO_8859_1));
                } catch (IOException e) {
                  throw new AssertionError(e);
                }
              });
      Throwable[] failure = new Throwable[1];
      peer.setUncaughtExceptionHandler((thread, why) -> failure[0] = why);
      peer.start();
      Ended ended =
          python(
              network,
              """
              def rest(s):
                  whole = b''
                  while part := s.recv(65536):
                      whole += part
                  return whole
              one = socket.create_connection((SERVER, 1))
              two = socket.create_connection((SERVER, 1))
              last = socket.create_connection((SERVER, 1))
              one.sendall(b'x' * 100_000)
              one.shutdown(socket.SHUT_WR)
              print(len(rest(one)))
              print(rest(two).decode())
              two.sendall(b'y' * 1_000_000)
              two.close()
              # With the program its network ends.
              print(rest(last).decode())
              """);
      assertEquals("100000\nfirst\nall\n", ended.output());
      peer.join();
      assertEquals(null, failure[0]);
    }
  }

  @Test
  @Timeout(600)
  void thousandsOfShortConnectionsLeaveNothing() throws Exception {
    int count = Integer.getInteger("nacelle.connections", 2_000);
    try (ToolsNetwork network = new ToolsNetwork(directory, ADDRESSES);
        ServerSocket server = listen(1000)) {
      network.allow(Duration.ofMillis(60_000 + 25L * count));
      network.route(1, address(server));
      Thread peer =
          new Thread(
              () -> {
                try {
                  while (true) {
                    try (Socket client = server.accept()) {
                      client.getOutputStream().write(client.getInputStream().read());
                    }
                  }
                } catch (IOException e) {
                  // The test has ended.
                }
              });
      peer.start();
      Ended ended =
          python(
              network,
              """
              for i in range(%d):
                  with socket.create_connection((SERVER, 1)) as s:
                      s.sendall(b'x')
                      if s.recv(9) != b'x' or s.recv(9):
                          sys.exit('no answer')
              print(len(os.listdir('/proc/self/fd')) < 10)
              """
                  .formatted(count));
      assertEquals("True\n", ended.output());
      NetworkStatistics statistics = network.statistics();
      assertEquals(count, statistics.opened());
      assertEquals(count, statistics.sent());
      assertTrue(statistics.openFlows() <= 1, statistics::toString);
      server.close();
      peer.join();
    }
  }

  @Test
  void pingIsToldThatItIsProhibited() throws Exception {
    try (ToolsNetwork network = new ToolsNetwork(directory, ADDRESSES)) {
      Ended ended =
          python(
              network,
              """
              s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
              s.setsockopt(socket.SOL_IP, 11, 1)  # IP_RECVERR
              s.settimeout(20)
              s.sendto(bytes([8, 0, 0, 0, 0, 0, 0, 1]), (SERVER, 0))
              try:
                  s.recv(100)
              except OSError as e:
                  print(errno.errorcode[e.errno])
              """);
      assertEquals("EHOSTUNREACH\n", ended.output());
    }
  }

  @Test
  void aptUpdatesFromAMirrorByName() throws Exception {
    byte[] packages =
        """
        Package: hello
        Version: 1.0
        Architecture: all
        Maintainer: Nobody <nobody@a.example>
        Filename: hello.deb
        Size: 1
        SHA256: 0000000000000000000000000000000000000000000000000000000000000000
        Description: greets

        """
            .getBytes(ISO_8859_1);
    try (ToolsNetwork network =
        new ToolsNetwork(directory, WEB)
            .serves(
                exchange ->
                    exchange.getRequestURI().getPath().equals("/debian/./Packages")
                        ? packages
                        : null)) {
      Ended ended =
          network.run(
              """
              mkdir -p apt/lists/partial apt/cache apt/etc/apt.conf.d apt/etc/preferences.d
              echo 'deb [trusted=yes] http://a.example/debian ./' > apt/sources.list
              touch apt/status
              apt() {
                "$@" -q -o Dir::Etc=$PWD/apt/etc -o Dir::Etc::SourceList=$PWD/apt/sources.list \
                  -o Dir::Etc::SourceParts=/nowhere -o Dir::State=$PWD/apt \
                  -o Dir::State::Lists=$PWD/apt/lists -o Dir::State::status=$PWD/apt/status \
                  -o Dir::Cache=$PWD/apt/cache -o APT::Sandbox::User=root
              }
              apt apt-get update && apt apt-cache policy hello
              """);
      assertEquals(0, ended.code(), ended.output());
      assertTrue(ended.output().contains("http://a.example/debian ./ Packages"), ended.output());
    }
  }

  @Test
  void gitClonesOverHttpsByName() throws Exception {
    Ended made =
        new Ended(
            0,
            Tool.script(
                directory,
                "rm -rf work bare.git && git init -q -b main work && cd work && echo hello > file"
                    + " && git add file && git -c user.name=x -c user.email=x@a.example"
                    + " -c commit.gpgsign=false commit -q -m first"
                    + " && git clone -q --bare . ../bare.git && cd ../bare.git"
                    + " && git update-server-info"));
    Path bare = directory.resolve("bare.git");
    assertTrue(Files.isDirectory(bare), made.output());
    try (ToolsNetwork network =
        new ToolsNetwork(directory, WEB).serves(exchange -> file(bare, exchange))) {
      Ended ended =
          network.run(
              "rm -rf clone && GIT_SSL_CAINFO=ca.pem git -c http.emptyAuth=false clone -q"
                  + " https://a.example/ clone && cat clone/file;"
                  + " GIT_SSL_CAINFO=ca.pem git clone -q https://other.example/ other");
      assertTrue(ended.output().startsWith("hello\n"), ended.output());
      assertTrue(ended.output().contains("other.example"), ended.output());
    }
  }

  private static byte[] file(Path root, com.sun.net.httpserver.HttpExchange exchange)
      throws IOException {
    Path file = root.resolve(exchange.getRequestURI().getPath().substring(1)).normalize();
    return file.startsWith(root) && Files.isRegularFile(file) ? Files.readAllBytes(file) : null;
  }

  @Test
  void pipInstallsFromAnIndexByName() throws Exception {
    assumeTrue(
        new ProcessBuilder("python3", "-m", "pip", "--version")
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start()
                .waitFor()
            == 0,
        "there is no pip");
    byte[] wheel =
        wheel(
            Map.of(
                "greeting.py",
                "print('hello from a wheel')\n",
                "greeting-1.0.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
                "greeting-1.0.dist-info/WHEEL",
                "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
                "greeting-1.0.dist-info/RECORD",
                "greeting.py,,\ngreeting-1.0.dist-info/METADATA,,\n"
                    + "greeting-1.0.dist-info/WHEEL,,\ngreeting-1.0.dist-info/RECORD,,\n"));
    String name = "greeting-1.0-py3-none-any.whl";
    byte[] index = ("<a href='/" + name + "'>" + name + "</a>").getBytes(ISO_8859_1);
    try (ToolsNetwork network =
        new ToolsNetwork(directory, WEB)
            .serves(
                exchange ->
                    switch (exchange.getRequestURI().getPath()) {
                      case "/simple/greeting/" -> {
                        exchange.getResponseHeaders().set("Content-Type", "text/html");
                        yield index;
                      }
                      case "/greeting-1.0-py3-none-any.whl" -> wheel;
                      default -> null;
                    })) {
      Ended ended =
          network.run(
              "export HOME=$PWD PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1;"
                  + " python3 -m pip install -q --no-cache-dir --root-user-action=ignore"
                  + " --cert ca.pem --index-url https://a.example/simple --target pip greeting"
                  + " && PYTHONPATH=pip python3 -c 'import greeting'");
      assertEquals("hello from a wheel\n", ended.output());
    }
  }

  private static byte[] wheel(Map<String, String> files) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      for (Map.Entry<String, String> file : files.entrySet()) {
        zip.putNextEntry(new ZipEntry(file.getKey()));
        zip.write(file.getValue().getBytes(ISO_8859_1));
      }
    }
    return bytes.toByteArray();
  }

  @Test
  void opensslFindsTheServersCertificate() throws Exception {
    try (ToolsNetwork network = new ToolsNetwork(directory, WEB).greets()) {
      Ended ended =
          network.run(
              "echo | openssl s_client -connect a.example:443 -servername a.example -CAfile ca.pem"
                  + " -verify_return_error -brief 2>&1;"
                  + " echo | openssl s_client -connect a.example:443 -noservername -brief 2>&1;"
                  + " echo | openssl s_client -connect a.example:443 -servername b.example -brief");
      assertTrue(ended.output().contains("Verification: OK"), ended.output());
      assertEquals(
          2, ended.output().split("errno=104|Connection reset", -1).length - 1, ended.output());
    }
  }
}
