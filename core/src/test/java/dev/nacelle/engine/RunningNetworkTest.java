// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.when;

import dev.nacelle.SandboxSpec;
import dev.nacelle.net.HostNetwork;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkPolicy;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class RunningNetworkTest {
  /** As where the host's name servers are slow to tell of a proxy. */
  @Test
  void updateThatClosesWaitsForNoOtherAndIsNotUndoneByAnEarlierOne() throws Exception {
    CountDownLatch resolving = new CountDownLatch(1);
    CountDownLatch resolved = new CountDownLatch(1);
    List<NetworkPolicy> had = new CopyOnWriteArrayList<>();
    HostNetwork host = mock(HostNetwork.class);
    when(host.prepare(any()))
        .thenAnswer(
            call -> {
              NetworkPolicy policy = call.getArgument(0);
              if (!policy.isNone()) {
                resolving.countDown();
                resolved.await();
              }
              return (Runnable) () -> had.add(policy);
            });
    SandboxSpec spec = SandboxSpec.builder().image("oci:/none").kernel("nacelle:6.12").build();
    RunningNetwork network =
        new RunningNetwork(mock(GuestCalls.class), spec, new CompletableFuture<>(), host);
    NetworkPolicy open = NetworkPolicy.builder().allow(Egress.internet()).build();
    CompletableFuture<Void> slow = CompletableFuture.runAsync(() -> network.update(open));
    resolving.await();
    network.update(NetworkPolicy.none());
    resolved.countDown();
    slow.get();
    assertEquals(List.of(NetworkPolicy.none()), had);
    assertEquals(NetworkPolicy.none(), network.policy());
    network.update(open);
    assertEquals(open, network.policy());
  }
}
