// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.testing.FaultProxy;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.Test;

class AuthorizerTest {
  @Test
  void whoWaitsForAnothersLoginCanBeInterrupted() throws Exception {
    CountDownLatch asked = new CountDownLatch(1);
    Deadline deadline = new Deadline(Duration.ofMinutes(5));
    try (FaultProxy service = new FaultProxy("http://localhost:1")) {
      FaultProxy.Fault silence = FaultProxy.silence();
      service.fail(
          "/token",
          (request, upstream, client, out) -> {
            asked.countDown();
            silence.answer(request, upstream, client, out);
          });
      RegistryOptions options =
          RegistryOptions.builder().plainHttp(service.host()).credentialFiles().build();
      Endpoint endpoint = Endpoint.of(options, service.host(), "app").get(0);
      try (HttpTransport transport = new HttpTransport(options, deadline)) {
        Authorizer authorizer =
            new Authorizer(
                endpoint, transport, new CredentialLookup(options, name -> null, deadline));
        String challenge = "Bearer realm=\"http://" + service.host() + "/token\"";
        FutureTask<IOException> first = new FutureTask<>(() -> failure(authorizer, challenge));
        FutureTask<IOException> second = new FutureTask<>(() -> failure(authorizer, challenge));
        Thread logsIn = new Thread(first);
        Thread waits = new Thread(second);
        logsIn.start();
        asked.await();
        waits.start();

        waits.interrupt();

        assertInstanceOf(InterruptedIOException.class, second.get());
        assertTrue(logsIn.isAlive());
        logsIn.interrupt();
        assertInstanceOf(InterruptedIOException.class, first.get());
      }
    }
  }

  private static IOException failure(Authorizer authorizer, String challenge) {
    try {
      authorizer.answer(List.of(challenge), null);
      throw new AssertionError("it has a token");
    } catch (IOException e) {
      return e;
    }
  }
}
