// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.times;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.verifyNoInteractions;
import static org.mockito.Mockito.when;

import dev.nacelle.ExecResult;
import dev.nacelle.ExitStatus;
import dev.nacelle.Nacelle;
import dev.nacelle.Output;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxSpec;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.mockito.ArgumentCaptor;

/** When sandboxes are started and replaced; PluginHostBootTest has real ones. */
@Timeout(60)
class PluginHostTest {
  private final Nacelle nacelle = mock(Nacelle.class);
  private final PluginHost host =
      new PluginHost(nacelle, PluginHost.sandbox("oci:/image"), Duration.ofSeconds(10));

  private static Sandbox sandboxThatAnswers(String answer, int exitCode) {
    Sandbox sandbox = mock(Sandbox.class);
    when(sandbox.isAlive()).thenReturn(true);
    when(sandbox.exec(any(ProcessSpec.class)))
        .thenReturn(
            ExecResult.of(
                ExitStatus.of(exitCode), Output.of(answer), Output.of(""), Duration.ZERO));
    return sandbox;
  }

  /** One that lives until something is run in it. */
  private static Sandbox sandboxThatEnds(String why) {
    Sandbox sandbox = mock(Sandbox.class);
    when(sandbox.isAlive()).thenReturn(true);
    when(sandbox.exec(any(ProcessSpec.class)))
        .thenAnswer(
            call -> {
              when(sandbox.isAlive()).thenReturn(false);
              throw new SandboxEndedException(
                  why, null, SandboxExit.of(SandboxExit.Reason.GUEST_CRASHED, why), null);
            });
    return sandbox;
  }

  private String call(String tenant) {
    return host.call(tenant, "plug-in", "request");
  }

  @Test
  void eachTenantHasASandboxOfItsOwnForAllItsCalls() {
    Sandbox ada = sandboxThatAnswers("ada's", 0);
    Sandbox bob = sandboxThatAnswers("bob's", 0);
    when(nacelle.start(any())).thenReturn(ada, bob);
    host.warmUp("ada");
    host.warmUp("bob");
    assertEquals("ada's", call("ada"));
    assertEquals("bob's", call("bob"));
    assertEquals("ada's", call("ada"));
    ArgumentCaptor<SandboxSpec> started = ArgumentCaptor.forClass(SandboxSpec.class);
    verify(nacelle, times(2)).start(started.capture());
    assertEquals(Optional.of("bob"), started.getValue().name());
  }

  @Test
  void oneThatEndedWhileItWasIdleIsReplaced() {
    Sandbox first = sandboxThatAnswers("first", 0);
    Sandbox second = sandboxThatAnswers("second", 0);
    when(nacelle.start(any())).thenReturn(first, second);
    assertEquals("first", call("ada"));
    when(first.isAlive()).thenReturn(false);
    assertEquals("second", call("ada"));
  }

  @Test
  void oneThatEndsDuringACallIsReplacedOnce() {
    Sandbox first = sandboxThatEnds("first");
    Sandbox second = sandboxThatAnswers("second", 0);
    when(nacelle.start(any())).thenReturn(first, second);
    assertEquals("second", call("ada"));

    Sandbox third = sandboxThatEnds("third");
    Sandbox fourth = sandboxThatEnds("fourth");
    when(nacelle.start(any())).thenReturn(third, fourth);
    Exception failure = assertThrows(SandboxEndedException.class, () -> call("bob"));
    assertEquals("fourth", failure.getMessage());
    verify(nacelle, times(4)).start(any());
  }

  @Test
  void aStartThatFailsIsTriedAgainByTheNextCall() {
    IllegalStateException failure = new IllegalStateException("in a test");
    Sandbox sandbox = sandboxThatAnswers("answer", 0);
    when(nacelle.start(any())).thenThrow(failure).thenReturn(sandbox);
    assertSame(failure, assertThrows(IllegalStateException.class, () -> call("ada")));
    assertEquals("answer", call("ada"));
  }

  @Test
  void callsThatComeWhileItStartsShareIt() throws Exception {
    CountDownLatch starting = new CountDownLatch(1);
    CountDownLatch ready = new CountDownLatch(1);
    Sandbox sandbox = sandboxThatAnswers("answer", 0);
    when(nacelle.start(any()))
        .thenAnswer(
            call -> {
              starting.countDown();
              ready.await();
              return sandbox;
            });
    CompletableFuture<String> first = CompletableFuture.supplyAsync(() -> call("ada"));
    CompletableFuture<String> second = CompletableFuture.supplyAsync(() -> call("ada"));
    starting.await();
    ready.countDown();
    assertEquals("answer", first.get());
    assertEquals("answer", second.get());
    verify(nacelle, times(1)).start(any());
  }

  @Test
  void aPluginThatFailsIsAnErrorAndNotRunAgain() {
    Sandbox sandbox = sandboxThatAnswers("", 1);
    when(nacelle.start(any())).thenReturn(sandbox);
    ProcessException failure = assertThrows(ProcessException.class, () -> call("ada"));
    assertEquals(ProcessException.Reason.FAILED, failure.reason());
    verify(sandbox, times(1)).exec(any(ProcessSpec.class));
  }

  @Test
  void aNameThatASandboxCannotHaveIsRefused() {
    Exception failure = assertThrows(IllegalArgumentException.class, () -> call("ada/.."));
    assertEquals(true, failure.getMessage().contains("ada/.."), failure::getMessage);
    verifyNoInteractions(nacelle);
  }

  @Test
  void itsEndIsThatOfAllSandboxes() {
    host.close();
    verify(nacelle).close();
  }
}
