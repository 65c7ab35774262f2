// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.agent.AgentException.Kind;
import io.netty.channel.DefaultEventLoop;
import io.netty.channel.EventLoop;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class LivenessTest {
  private final EventLoop loop = new DefaultEventLoop();
  private final GuestTimers timers = new GuestTimers(loop);
  private final BlockingQueue<CompletableFuture<Void>> questions = new LinkedBlockingQueue<>();
  private final AtomicInteger silences = new AtomicInteger();
  private final Liveness liveness =
      new Liveness(
          timers,
          Duration.ofMillis(1),
          () -> 0,
          () -> {
            CompletableFuture<Void> question = new CompletableFuture<>();
            questions.add(question);
            return question;
          },
          silences::incrementAndGet);

  @AfterEach
  void endLoop() throws InterruptedException {
    var unused = loop.shutdownGracefully(0, 5, TimeUnit.SECONDS);
    loop.awaitTermination(10, TimeUnit.SECONDS);
  }

  private static void fail(CompletableFuture<Void> question, Kind kind) {
    question.completeExceptionally(new AgentException(kind, "no answer"));
  }

  /** Until everything that was given to the loop is done. */
  private void settle() throws Exception {
    // Twice: what is done there may give it more.
    loop.submit(() -> {}).get();
    loop.submit(() -> {}).get();
  }

  @Test
  void guestThatDoesNotAnswerIsSilentOnce() throws Exception {
    liveness.start();
    liveness.start();
    fail(questions.take(), Kind.NO_ANSWER);
    settle();
    assertTrue(liveness.foundSilent());
    assertEquals(1, silences.get());
  }

  @Test
  void guestThatAnswersIsAskedAgain() throws Exception {
    liveness.start();
    questions.take().complete(null);
    fail(questions.take(), Kind.REFUSED);
    questions.take();
    assertFalse(liveness.foundSilent());
  }

  @Test
  void guestIsNotAskedWhileTheMachineRests() throws Exception {
    timers.pause();
    liveness.start();
    Thread.sleep(50);
    assertTrue(questions.isEmpty());
    timers.resume();
    questions.take();
  }

  @Test
  void guestThatIsSilentIsFoundHoweverOftenItsMachineRests() throws Exception {
    liveness.start();
    while (questions.isEmpty()) {
      timers.pause();
      timers.resume();
    }
    fail(questions.take(), Kind.NO_ANSWER);
    settle();
    assertTrue(liveness.foundSilent());
  }

  @Test
  void whatHasEndedIsNotSilent() throws Exception {
    liveness.start();
    CompletableFuture<Void> question = questions.take();
    liveness.stop();
    fail(question, Kind.NO_ANSWER);
    settle();
    assertFalse(liveness.foundSilent());
    assertEquals(0, silences.get());
  }
}
