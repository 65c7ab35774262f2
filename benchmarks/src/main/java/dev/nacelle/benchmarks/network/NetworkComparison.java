// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.network;

import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a program in a network namespace has of the network, through Nacelle's (the agent's thread
 * and the host's side, without a machine), slirp4netns, pasta, and a bridge of the kernel; by
 * turns. All reach the same servers, in a namespace beyond the one that this program runs in. Needs
 * root, and namespaces of its own for network, mounts and processes, which its end clears away.
 */
public final class NetworkComparison {
  private static final int IPERF_PORT = 5201;
  private static final int ECHO_PORT = 5202;
  private static final int ROUND_TRIPS = 2000;
  private static final int CONNECTIONS = 200;
  private static final int IDLE = 1024;
  private static final double TICKS_PER_SECOND = 100;

  /** Each way, with room for all that is on it. */
  private static final String FAR = "delay 25ms rate 1gbit limit 100000";

  /** For a window that is no bound; as a kernel has them, it is one of half of that rate. */
  private static final String WIDE_RECEIVE = "net.ipv4.tcp_rmem=4096 131072 33554432";

  private static final String WIDE_SEND = "net.ipv4.tcp_wmem=4096 16384 33554432";

  /** Until both windows are as wide as they become, which is not counted. */
  private static final int SLOW_START_SECONDS = 2;

  /** Sends back what comes, from all at once. */
  private static final String ECHO =
      """
      import selectors, socket, sys
      ready = selectors.DefaultSelector()
      listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=1024)
      ready.register(listener, selectors.EVENT_READ)
      print('listening', flush=True)
      while True:
        for key, _ in ready.select():
          if key.fileobj is listener:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(connection, selectors.EVENT_READ)
          else:
            try: data = key.fileobj.recv(4096)
            except OSError: data = b''
            if data: key.fileobj.sendall(data)
            else:
              ready.unregister(key.fileobj)
              key.fileobj.close()
      """;

  /** The median of round trips, or of connections with a round trip, in ns; or idle connections. */
  private static final String CLIENT =
      """
      import socket, sys, time
      what, address, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
      def connect():
        connection = socket.create_connection((address, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
      def there_and_back(connection):
        connection.sendall(b'.')
        if connection.recv(1) != b'.': raise SystemExit('it has ended')
      times = []
      def timed(work):
        began = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - began)
      if what == 'idle':
        connections = []
        for i in range(count):
          connections.append(connect())
          there_and_back(connections[-1])
          time.sleep(0.006)
        print('open', flush=True)
        sys.stdin.read()
      elif what == 'rtt':
        connection = connect()
        for i in range(count): timed(lambda: there_and_back(connection))
      else:
        for i in range(count):
          opened = []
          def work():
            opened.append(connect())
            there_and_back(opened[0])
          timed(work)
          opened[0].close()
          time.sleep(0.006)
      times.sort()
      if times: print(times[len(times) // 2])
      """;

  private final List<Carrier> carriers = new ArrayList<>();
  private final Map<String, Map<String, Samples>> samples = new LinkedHashMap<>();
  private final int rounds;
  private final int seconds;
  private final boolean far;
  private long servers;

  private NetworkComparison(int rounds, int seconds, boolean far) {
    this.rounds = rounds;
    this.seconds = seconds;
    this.far = far;
  }

  /**
   * @param arguments how many rounds count, after one that does not; seconds of each transfer;
   *     network_on_socket; pasta, or nothing where there is none; "far" where the servers are to be
   *     50 ms away, behind 1 Gbit/s, for Nacelle and the bridge alone
   */
  public static void main(String... arguments) throws Exception {
    boolean far = arguments.length > 4 && arguments[4].equals("far");
    NetworkComparison comparison =
        new NetworkComparison(Integer.parseInt(arguments[0]), Integer.parseInt(arguments[1]), far);
    Path directory = Files.createTempDirectory("network");
    try (Programs programs = new Programs()) {
      comparison.begin(programs, directory, Path.of(arguments[2]), arguments[3]);
      for (int round = far ? 0 : -1; round < comparison.rounds; round++) {
        System.out.println(round < 0 ? "warm-up" : "round " + (round + 1));
        comparison.round(round);
      }
      if (!far) {
        comparison.idle(programs);
      }
    }
    comparison.print();
  }

  private void begin(Programs programs, Path directory, Path agent, String pasta)
      throws IOException, InterruptedException {
    Process namespace = programs.namespace();
    servers = namespace.pid();
    Programs.script(
        """
        ip link set lo up
        ip link add up0 type veth peer name eth0 netns %1$d
        ip address add %2$s/24 dev up0
        ip link set up0 up
        nsenter --net=/proc/%1$d/ns/net ip address add %3$s/24 dev eth0
        nsenter --net=/proc/%1$d/ns/net ip link set eth0 up
        ip route add default via %3$s
        """
            .formatted(servers, Carrier.HOST, Carrier.SERVERS));
    iperfServer(programs, servers, IPERF_PORT);
    Process echo =
        programs.start(
            Programs.in(servers, "python3", "-c", ECHO, Carrier.SERVERS, "" + ECHO_PORT));
    Programs.requireLine(echo, "listening");

    int port = 5401;
    carriers.add(Carrier.nacelle(programs, agent, directory, port++));
    if (far) {
      carriers.add(Carrier.bridge(programs, port));
      Programs.script(
          """
          tc qdisc add dev up0 root netem %1$s
          nsenter --net=/proc/%2$d/ns/net tc qdisc add dev eth0 root netem %1$s
          """
              .formatted(FAR, servers));
    } else {
      carriers.add(Carrier.slirp4netns(programs, directory, port++));
      if (!pasta.isEmpty()) {
        carriers.add(Carrier.pasta(programs, directory, pasta, "1500", port++));
        carriers.add(Carrier.pasta(programs, directory, pasta, "65520", port++));
      }
      carriers.add(Carrier.bridge(programs, port++));
      carriers.add(Carrier.rootlesskit(programs, directory, port));
    }
    for (Carrier carrier : carriers) {
      iperfServer(programs, carrier.pid(), Carrier.GUEST_PORT);
    }
    if (far) {
      for (long pid : List.of(ProcessHandle.current().pid(), servers, carriers.get(1).pid())) {
        Programs.run(Programs.in(pid, "sysctl", "-qw", WIDE_RECEIVE, WIDE_SEND));
      }
    }
  }

  private static void iperfServer(Programs programs, long namespace, int port)
      throws IOException, InterruptedException {
    Process server =
        programs.start(
            Programs.in(namespace, "iperf3", "--server", "--forceflush", "-p", "" + port));
    String line = Programs.line(server);
    while (!line.contains("listening")) {
      line = Programs.line(server);
    }
    // It says more with each test, and nobody else reads that.
    Thread reader =
        new Thread(
            () -> {
              try {
                while (server.getInputStream().read() >= 0) {}
              } catch (IOException e) {
                // It has been ended.
              }
            },
            "iperf3");
    reader.setDaemon(true);
    reader.start();
  }

  private void round(int round) throws IOException, InterruptedException {
    for (int i = 0; i < carriers.size(); i++) {
      Carrier carrier = carriers.get((i + Math.max(round, 0)) % carriers.size());
      if (far) {
        transfer(round, carrier, "up", 1, false);
        transfer(round, carrier, "down", 1, true);
        continue;
      }
      if (carrier.out()) {
        for (int flows : new int[] {1, 8}) {
          transfer(round, carrier, "up", flows, false);
          transfer(round, carrier, "down", flows, true);
        }
        String rtt = client(carrier, "rtt", ROUND_TRIPS);
        add(round, carrier, "1 byte there and back, us", Long.parseLong(rtt) / 1e3);
        String connect = client(carrier, "connect", CONNECTIONS);
        add(round, carrier, "connection, 1 byte there and back, us", Long.parseLong(connect) / 1e3);
      }
      published(round, carrier, "to a published port", false);
      published(round, carrier, "from a published port", true);
    }
  }

  private static String client(Carrier carrier, String what, int count)
      throws IOException, InterruptedException {
    return Programs.run(
            Programs.in(
                carrier.pid(),
                "python3",
                "-c",
                CLIENT,
                what,
                Carrier.SERVERS,
                "" + ECHO_PORT,
                "" + count))
        .strip();
  }

  private void transfer(int round, Carrier carrier, String name, int flows, boolean down)
      throws IOException, InterruptedException {
    long[] before = carrier.ticks();
    String report = iperf(carrier.pid(), Carrier.SERVERS, IPERF_PORT, flows, down);
    long[] after = carrier.ticks();
    if (hasFailed(report, carrier)) {
      add(round, carrier, name(name, flows) + ": Gbit/s", 0);
      return;
    }
    String what = name(name, flows);
    double bits = number(report, "sum_received", "bits_per_second");
    double time = number(report, "sum_sent", "seconds");
    double gigabytes = number(report, "sum_received", "bytes") / 1e9;
    double program = number(report, "cpu_utilization_percent", "host_total") / 100 * time;
    double guest = program + (after[0] - before[0]) / TICKS_PER_SECOND;
    double host = (after[1] - before[1]) / TICKS_PER_SECOND;
    add(round, carrier, what + ": Gbit/s", bits / 1e9);
    add(round, carrier, what + ": guest's CPU-s/GB", guest / gigabytes);
    add(round, carrier, what + ": host's CPU-s/GB", host / gigabytes);
  }

  private void published(int round, Carrier carrier, String what, boolean down)
      throws IOException, InterruptedException {
    String report = iperf(servers, Carrier.HOST, carrier.port(), 1, down);
    boolean failed = hasFailed(report, carrier);
    double bits = failed ? 0 : number(report, "sum_received", "bits_per_second");
    add(round, carrier, what + ": Gbit/s", bits / 1e9);
  }

  private static String name(String direction, int flows) {
    return direction + ", " + (flows == 1 ? "1 flow" : flows + " flows");
  }

  /** A transfer that failed is one of nothing, and is told. */
  private static boolean hasFailed(String report, Carrier carrier) {
    int error = report.indexOf("\"error\"");
    if (error >= 0) {
      System.out.println(carrier.name() + " failed: " + report.substring(error).strip());
      return true;
    }
    return number(report, "sum_received", "bytes") == 0;
  }

  private String iperf(long namespace, String address, int port, int flows, boolean down)
      throws IOException, InterruptedException {
    List<String> command =
        Programs.in(
            namespace, "iperf3", "--json", "-c", address, "-p", "" + port, "-P", "" + flows);
    command.addAll(List.of("-t", "" + seconds));
    if (down) {
      command.add("-R");
    }
    if (far) {
      command.addAll(List.of("--omit", "" + SLOW_START_SECONDS));
    }
    String report = Programs.output(command);
    for (int i = 0; i < 10 && report.contains("server is busy"); i++) {
      // The test before it has not quite ended there.
      Thread.sleep(100);
      report = Programs.output(command);
    }
    return report;
  }

  /** A number of an object of iperf3's report, of the last one of that name. */
  private static double number(String report, String object, String name) {
    int start = report.lastIndexOf('"' + object + '"');
    Matcher matcher = Pattern.compile('"' + name + "\":\\s*([0-9.e+-]+)").matcher(report);
    if (start < 0 || !matcher.find(start)) {
      throw new IllegalStateException("no " + object + "." + name + " in " + report);
    }
    return Double.parseDouble(matcher.group(1));
  }

  private void idle(Programs programs) throws IOException, InterruptedException {
    for (Carrier carrier : carriers) {
      if (carrier.host().isEmpty() || !carrier.out()) {
        continue;
      }
      // The first collection of a heap takes memory of its own.
      carrier.memory();
      long[] before = carrier.memory();
      Process client =
          programs.start(
              Programs.in(
                  carrier.pid(),
                  "python3",
                  "-c",
                  CLIENT,
                  "idle",
                  Carrier.SERVERS,
                  "" + ECHO_PORT,
                  "" + IDLE));
      Programs.requireLine(client, "open");
      long[] with = carrier.memory();
      if (carrier.jvm() != null) {
        double heap = (with[0] - before[0]) / 1024.0 / IDLE;
        add(0, carrier, "an idle flow in the heap, KiB", heap);
      }
      add(0, carrier, "an idle flow beside it, KiB", (with[1] - before[1]) / 1024.0 / IDLE);
      client.getOutputStream().close();
      client.waitFor();
    }
  }

  private void add(int round, Carrier carrier, String what, double value) {
    System.out.printf(Locale.ROOT, "%s: %s %.3f%n", carrier.name(), what, value);
    if (round >= 0) {
      samples
          .computeIfAbsent(what, w -> new LinkedHashMap<>())
          .computeIfAbsent(carrier.name(), c -> new Samples())
          .add(Math.round(value * 1000));
    }
  }

  private void print() {
    List<String> heading = new ArrayList<>(List.of("median (min to max)"));
    carriers.forEach(carrier -> heading.add(carrier.name()));
    Table table = new Table(heading.toArray(new String[0]));
    List<String> markdown = new ArrayList<>();
    markdown.add("| " + String.join(" | ", heading) + " |");
    markdown.add("|---|" + "---:|".repeat(carriers.size()));
    try (Results results =
        new Results(far ? "network-far" : "network", "what,carrier,round,thousandths")) {
      samples.forEach(
          (what, values) -> {
            List<String> row = new ArrayList<>(List.of(what));
            for (Carrier carrier : carriers) {
              Samples of = values.get(carrier.name());
              row.add(of == null ? "" : text(of));
              if (of != null) {
                results.add('"' + what + "\",\"" + carrier.name() + '"', of);
              }
            }
            table.row(row.toArray(new String[0]));
            markdown.add("| " + String.join(" | ", row) + " |");
          });
    }
    System.out.print(table);
    write(far ? "network-far" : "network", markdown);
  }

  private static String text(Samples samples) {
    String median = value(samples.median());
    return samples.count() == 1
        ? median
        : median + " (" + value(samples.min()) + " to " + value(samples.max()) + ")";
  }

  private static String value(long thousandths) {
    double value = thousandths / 1000.0;
    return String.format(Locale.ROOT, value < 20 ? "%.2f" : "%.0f", value);
  }

  private static void write(String name, List<String> markdown) {
    Path file = Path.of(System.getProperty("nacelle.results", "."), name + ".md");
    try {
      Files.write(file, markdown);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
