// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.Inet6Address;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class NameServersTest {
  private static List<String> parse(String text) {
    return text(NameServers.parse(text));
  }

  private static List<String> text(List<InetSocketAddress> servers) {
    return servers.stream()
        .map(server -> server.getAddress().getHostAddress() + " " + server.getPort())
        .toList();
  }

  @Test
  void linesAreReadAsTheCLibraryDoes() {
    assertEquals(
        List.of("192.0.2.1 53", "127.0.0.53 53", "2001:db8:0:0:0:0:0:1 53"),
        parse(
            """
            # nameserver 192.0.2.9
            ;nameserver 192.0.2.9
            search example.com
            nameserver 192.0.2.1
            nameserver\t127.0.0.53   # systemd's
             nameserver 192.0.2.9
            nameservers 192.0.2.9
            nameserver name.example
            nameserver
            nameserver 2001:db8::1
            nameserver 192.0.2.4
            options edns0
            """));
  }

  @Test
  void withoutAnyItIsTheOneOnThisMachine() {
    assertEquals(List.of("127.0.0.1 53"), parse(""));
    assertEquals(List.of("127.0.0.1 53"), parse("search example.com\n"));
  }

  @Test
  void aScopeIsALink() throws Exception {
    assertEquals(7, ((Inet6Address) first("nameserver fe80::1%7").getAddress()).getScopeId());
    NetworkInterface link = NetworkInterface.networkInterfaces().findFirst().orElseThrow();
    assertEquals(List.of("127.0.0.1 53"), parse("nameserver fe80::1%no-such-link"));
    assertEquals(List.of("127.0.0.1 53"), parse("nameserver fe80::1%"));
    assertEquals(List.of("127.0.0.1 53"), parse("nameserver fe80::1%99999999999"));
    assertTrue(parse("nameserver fe80::1%" + link.getName()).size() == 1);
  }

  private static InetSocketAddress first(String text) {
    return NameServers.parse(text).get(0);
  }

  @Test
  void aFileIsReadAgainAndMayBeGone(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("resolv.conf");
    NameServers.Source source = NameServers.ofFile(file);
    assertEquals(List.of("127.0.0.1 53"), text(source.read()));
    Files.writeString(file, "nameserver 192.0.2.1\n");
    assertEquals(List.of("192.0.2.1 53"), text(source.read()));
    Files.writeString(file, "nameserver 192.0.2.2\n");
    assertEquals(List.of("192.0.2.2 53"), text(source.read()));
    Files.writeString(file, "x".repeat(1 << 20) + "\nnameserver 192.0.2.2\n");
    assertEquals(List.of("127.0.0.1 53"), text(source.read()));
  }

  @Test
  void whatCannotBeReadIsAsItWas() {
    List<Boolean> reads = new ArrayList<>();
    NameServers servers =
        NameServers.of(
            () -> {
              reads.add(true);
              throw new IOException("no such thing");
            },
            task -> {
              throw new RejectedExecutionException();
            });
    assertEquals(List.of(), servers.servers());
    assertEquals(List.of(), servers.servers());
    assertEquals(1, reads.size());
  }

  @Test
  void whatFailsAtReadingThemAgainIsTriedAgain() {
    AtomicLong now = new AtomicLong();
    AtomicBoolean hasThreads = new AtomicBoolean();
    AtomicInteger reads = new AtomicInteger();
    Queue<Runnable> tasks = new ArrayDeque<>();
    InetSocketAddress known = NameServers.parse("nameserver 192.0.2.1").get(0);
    InetSocketAddress other = NameServers.parse("nameserver 192.0.2.2").get(0);
    NameServers servers =
        NameServers.of(
            () ->
                switch (reads.getAndIncrement()) {
                  case 0 -> List.of(known);
                  case 1 -> throw new IllegalStateException("a fault of the test's");
                  default -> List.of(other);
                },
            task -> {
              if (!hasThreads.get()) {
                throw new OutOfMemoryError("a fault of the test's");
              }
              tasks.add(task);
            },
            now::get);
    now.addAndGet(4_000_000_000L);
    assertEquals(List.of(known), servers.servers());
    hasThreads.set(true);
    assertEquals(List.of(known), servers.servers());
    assertThrows(IllegalStateException.class, tasks.remove()::run);
    now.addAndGet(4_000_000_000L);
    assertEquals(List.of(known), servers.servers());
    tasks.remove().run();
    assertEquals(List.of(other), servers.servers());
  }

  @Test
  void urlsOfTheJdkAreAddresses() {
    List<InetSocketAddress> servers = new ArrayList<>();
    for (String url :
        new String[] {
          "dns://192.0.2.1", "dns://192.0.2.1:5353/", "dns://[2001:db8::1]", "ldap://192.0.2.2"
        }) {
      NameServers.addUrl(servers, url);
    }
    assertEquals(
        List.of("192.0.2.1 53", "192.0.2.1 5353", "2001:db8:0:0:0:0:0:1 53"), text(servers));
    List<InetSocketAddress> others = new ArrayList<>();
    for (String url :
        new String[] {
          "",
          "null",
          "dns:",
          "dns://",
          "dns://a.example",
          "dns://1.2.3.4:x",
          "dns://[2001:db8::1]:7",
          "dns://fe80::1%3"
        }) {
      NameServers.addUrl(others, url);
    }
    assertEquals(List.of("2001:db8:0:0:0:0:0:1 7", "fe80:0:0:0:0:0:0:1%3 53"), text(others));
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "there is no file to compare with")
  void theJdkSaysWhatTheFileSays() throws Exception {
    Path conf = Path.of("/etc/resolv.conf");
    assumeTrue(Files.isReadable(conf) && Files.readString(conf).contains("nameserver "));
    List<InetSocketAddress> file = NameServers.ofFile(conf).read();
    assertEquals(text(file).get(0), text(NameServers.fromJndi()).get(0));
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = "elsewhere it is a file")
  void onWindowsTheJdkAsksTheSystem() throws Exception {
    assumeTrue(ModuleLayer.boot().findModule("jdk.naming.dns").isPresent());
    assertEquals(NameServers.fromJndi(), NameServers.ofHost(Runnable::run).servers());
    assertFalse(NameServers.fromJndi().isEmpty());
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = "elsewhere it is a file")
  void onWindowsNoneAreKnownWithoutTheModule() {
    assumeTrue(ModuleLayer.boot().findModule("jdk.naming.dns").isEmpty());
    IOException e = assertThrows(IOException.class, NameServers::fromJndi);
    assertTrue(e.getMessage().contains("give it the module jdk.naming.dns"), e.getMessage());
    assertEquals(List.of(), NameServers.ofHost(Runnable::run).servers());
  }

  @Test
  void givenOnesAreThose() {
    InetSocketAddress server = new InetSocketAddress("192.0.2.1", 5353);
    assertEquals(List.of(server), NameServers.of(List.of(server)).servers());
  }
}
