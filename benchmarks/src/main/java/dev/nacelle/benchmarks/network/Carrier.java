// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.network;

import java.io.IOException;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A network namespace for programs, and what carries its traffic to and from the namespace that
 * this program runs in.
 *
 * @param pid of a process in it
 * @param guest processes that carry, on the guest's side
 * @param host the same on the host's
 * @param jvm that of the host's that says what its heap holds, if any
 * @param port of the host's address that leads to {@link #GUEST_PORT}
 * @param out whether programs reach others through it, rather than only the other way round
 */
record Carrier(
    String name,
    long pid,
    List<Process> guest,
    List<Process> host,
    @Nullable Process jvm,
    int port,
    boolean out) {
  /** Of the namespace that this program runs in, on the servers' side. */
  static final String HOST = "198.51.100.1";

  static final String SERVERS = "198.51.100.2";
  static final int GUEST_PORT = 5301;

  /** Ethernet's, which all have alike. */
  private static final String MTU = "1500";

  /** The agent's network thread on a Unix socket, and a JVM at its other end. */
  static Carrier nacelle(Programs programs, Path agent, Path directory, int port)
      throws IOException {
    Path socket = directory.resolve("network");
    List<String> java = new ArrayList<>();
    java.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    // A heap of fixed size, touched beforehand, so that its pages are not counted twice.
    java.addAll(List.of("-XX:+UseSerialGC", "-Xms128m", "-Xmx128m", "-XX:+AlwaysPreTouch"));
    java.addAll(List.of("-cp", System.getProperty("java.class.path")));
    java.add("dev.nacelle.net.NetworkWithoutMachine");
    java.addAll(List.of(socket.toString(), SERVERS, HOST, "" + port, "" + GUEST_PORT));
    Process jvm = programs.start(java);
    Programs.requireLine(jvm, "ready");
    Process guest =
        programs.start(
            agent.toString(), socket.toString(), "sh", "-c", "echo up && exec sleep 86400");
    Programs.requireLine(guest, "up");
    return new Carrier("Nacelle", guest.pid(), List.of(guest), List.of(jvm), jvm, port, true);
  }

  /** A veth pair, a bridge, and address translation by the kernel. */
  static Carrier bridge(Programs programs, int port) throws IOException, InterruptedException {
    Process namespace = programs.namespace();
    Programs.script(
        """
        ip link add bridge0 type bridge
        ip address add 10.88.0.1/24 dev bridge0
        ip link set bridge0 up
        ip link add host0 type veth peer name eth0 netns %1$d
        ip link set host0 master bridge0 up
        nsenter --net=/proc/%1$d/ns/net ip address add 10.88.0.2/24 dev eth0
        nsenter --net=/proc/%1$d/ns/net ip link set eth0 up
        nsenter --net=/proc/%1$d/ns/net ip route add default via 10.88.0.1
        echo 1 >/proc/sys/net/ipv4/ip_forward
        nft add table ip bench
        nft 'add chain ip bench out { type nat hook postrouting priority 100 ; }'
        nft 'add chain ip bench in { type nat hook prerouting priority -100 ; }'
        nft add rule ip bench out ip saddr 10.88.0.0/24 masquerade
        nft add rule ip bench in ip daddr %2$s tcp dport %3$d dnat to 10.88.0.2:%4$d
        """
            .formatted(namespace.pid(), HOST, port, GUEST_PORT));
    return new Carrier("veth and bridge", namespace.pid(), List.of(), List.of(), null, port, true);
  }

  /** Debian's, whose interface is a tap. */
  static Carrier slirp4netns(Programs programs, Path directory, int port)
      throws IOException, InterruptedException {
    Process namespace = programs.namespace();
    Path socket = directory.resolve("slirp4netns");
    Process slirp =
        programs.start(
            "slirp4netns",
            "--configure",
            "--mtu=" + MTU,
            "--api-socket=" + socket,
            "" + namespace.pid(),
            "tap0");
    awaitRoute(namespace);
    String request =
        ("{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"tcp\",\"host_addr\":\"%s\","
                + "\"host_port\":%d,\"guest_port\":%d}}")
            .formatted(HOST, port, GUEST_PORT);
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(socket));
      channel.write(ByteBuffer.wrap(request.getBytes(StandardCharsets.US_ASCII)));
      channel.shutdownOutput();
      ByteBuffer answer = ByteBuffer.allocate(1024);
      while (channel.read(answer) >= 0) {}
      String text = new String(answer.array(), 0, answer.position(), StandardCharsets.US_ASCII);
      if (text.contains("error")) {
        throw new IllegalStateException(text);
      }
    }
    return new Carrier("slirp4netns", namespace.pid(), List.of(), List.of(slirp), null, port, true);
  }

  /** Of passt; it copies addresses and routes of the namespace that this program runs in. */
  static Carrier pasta(Programs programs, Path directory, String pasta, String mtu, int port)
      throws IOException, InterruptedException {
    Process namespace = programs.namespace();
    // It drops what it takes to open that of another process.
    Path file = Files.createFile(directory.resolve("pasta-" + mtu));
    Programs.script("mount --bind /proc/" + namespace.pid() + "/ns/net " + file);
    Process process =
        programs.start(
            pasta,
            "--foreground",
            "--quiet",
            "--config-net",
            "--mtu",
            mtu,
            "--runas",
            "0",
            "--no-map-gw",
            "--ipv4-only",
            "--tcp-ports",
            HOST + "/" + port + ":" + GUEST_PORT,
            "--udp-ports",
            "none",
            "--tcp-ns",
            "none",
            "--udp-ns",
            "none",
            "--netns-only",
            "--netns",
            file.toString());
    awaitRoute(namespace);
    String name = mtu.equals(MTU) ? "pasta" : "pasta, MTU of " + mtu;
    return new Carrier(name, namespace.pid(), List.of(), List.of(process), null, port, true);
  }

  /** With its port driver "builtin", which is looked at only for published ports. */
  static Carrier rootlesskit(Programs programs, Path directory, int port)
      throws IOException, InterruptedException {
    Path state = directory.resolve("rootlesskit");
    // It wants users of root's own, also here.
    Path users = Files.writeString(directory.resolve("users"), "root:100000:65536\n");
    Programs.script(
        "for file in /etc/subuid /etc/subgid; do mount --bind %s $file; done".formatted(users));
    Process process =
        programs.start(
            "rootlesskit",
            "--state-dir=" + state,
            "--net=slirp4netns",
            "--mtu=" + MTU,
            "--port-driver=builtin",
            "--publish=" + HOST + ":" + port + ":" + GUEST_PORT + "/tcp",
            "sh",
            "-c",
            "echo up && exec sleep 86400");
    Programs.requireLine(process, "up");
    // It is written while the child runs already.
    Path file = state.resolve("child_pid");
    Programs.run(
        List.of("timeout", "20", "sh", "-c", "until [ -s " + file + " ]; do sleep 0.05; done"));
    long child = Long.parseLong(Files.readString(file).strip());
    return new Carrier("rootlesskit", child, List.of(), List.of(process), null, port, false);
  }

  /** Until the other has made the interface. */
  private static void awaitRoute(Process namespace) throws IOException, InterruptedException {
    Programs.run(
        Programs.in(
            namespace.pid(),
            "timeout",
            "20",
            "sh",
            "-c",
            "until ip route | grep -q default; do sleep 0.05; done"));
  }

  /** Processor time of both sides so far, in ticks. */
  long[] ticks() throws IOException {
    return new long[] {ticks(guest), ticks(host)};
  }

  private static long ticks(List<Process> processes) throws IOException {
    long ticks = 0;
    for (Process process : processes) {
      ticks += Programs.ticks(process);
    }
    return ticks;
  }

  /** Memory of the host's side in bytes: what a JVM's heap holds, and all that is no heap. */
  long[] memory() throws IOException {
    long[] bytes = new long[2];
    if (jvm != null) {
      OutputStream input = jvm.getOutputStream();
      input.write('\n');
      input.flush();
      bytes[0] = Long.parseLong(Programs.line(jvm));
    }
    for (Process process : host) {
      bytes[1] += Programs.memory(process);
    }
    return bytes;
  }
}
