// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/**
 * The host's side of one sandbox's network, with a Unix socket in place of the machine's: whoever
 * connects there is the guest. Prints "ready", then answers each line of its input with the bytes
 * of its heap in use after a collection; ends at the input's end.
 */
public final class NetworkWithoutMachine {
  private NetworkWithoutMachine() {}

  /**
   * @param arguments the socket's path, the address that is allowed, the address and the port of
   *     the host's that are published, and the guest's port behind them
   */
  public static void main(String... arguments) throws Exception {
    NetworkPolicy policy =
        NetworkPolicy.builder()
            .allow(Egress.addresses(arguments[1]))
            .limits(NetworkLimits.builder().flows(2048).build())
            .build();
    PublishedPort published =
        PublishedPort.tcp(Integer.parseInt(arguments[4]))
            .onAddress(InetAddress.getByName(arguments[2]))
            .onHostPort(Integer.parseInt(arguments[3]));
    try (NetworkLoop loop = new NetworkLoop("network");
        ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        HostNetwork network =
            HostNetwork.open(
                loop,
                new HostAddresses(Runnable::run),
                NameServers.of(List.of()),
                NetworkMemory.ofRuntime(),
                "benchmark",
                policy,
                List.of(published),
                event -> {},
                Runnable::run)) {
      server.bind(UnixDomainSocketAddress.of(Path.of(arguments[0])));
      System.out.println("ready");
      SocketChannel guest = server.accept();
      network.accept(new LoopConnection(loop, guest));
      BufferedReader input =
          new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
      while (input.readLine() != null) {
        System.gc();
        Runtime runtime = Runtime.getRuntime();
        System.out.println(runtime.totalMemory() - runtime.freeMemory());
      }
    }
  }
}
