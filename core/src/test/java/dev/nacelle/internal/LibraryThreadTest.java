// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.agent.AgentLoops;
import java.net.URL;
import java.net.URLClassLoader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class LibraryThreadTest {
  private final List<String> inheritors = new CopyOnWriteArrayList<>();
  private final InheritableThreadLocal<String> local =
      new InheritableThreadLocal<>() {
        @Override
        protected String childValue(String value) {
          inheritors.add(value);
          return value;
        }
      };
  private final ClassLoader loader = new URLClassLoader(new URL[0]);
  private final ThreadGroup group = new ThreadGroup("caller");

  /** What threads are that are started for a caller who has something to hand on. */
  private List<Thread> startedBy(Consumer<CompletableFuture<Thread>> starter) throws Exception {
    CompletableFuture<Thread> found = new CompletableFuture<>();
    List<Throwable> failures = new ArrayList<>();
    Thread caller =
        new Thread(
            group,
            () -> {
              local.set("caller's");
              starter.accept(found);
            });
    caller.setContextClassLoader(loader);
    caller.setUncaughtExceptionHandler((thread, failure) -> failures.add(failure));
    caller.start();
    caller.join();
    assertEquals(List.of(), failures);
    return List.of(found.get());
  }

  private void assertTookNothingOver(List<Thread> threads) {
    assertEquals(List.of(), inheritors);
    for (Thread thread : threads) {
      assertTrue(thread.isDaemon());
      assertNotSame(loader, thread.getContextClassLoader());
      assertNotSame(group, thread.getThreadGroup());
    }
  }

  @Test
  void takesNothingOver() throws Exception {
    assertTookNothingOver(
        startedBy(
            found ->
                new LibraryThread(() -> found.complete(Thread.currentThread()), "test").start()));
  }

  @Test
  void handsNothingOnToThreadsOfOthersClasses() throws Exception {
    assertTookNothingOver(
        startedBy(
            found ->
                LibraryThread.make(() -> new Thread(() -> found.complete(Thread.currentThread())))
                    .start()));
  }

  @Test
  void agentLoopsTakeNothingOver() throws Exception {
    try (AgentLoops loops = new AgentLoops(1)) {
      assertTookNothingOver(
          startedBy(
              found -> {
                var unused =
                    loops.schedule(() -> found.complete(Thread.currentThread()), Duration.ZERO);
              }));
    }
  }

  @Test
  void passesOnWhatAMakerThrows() {
    IllegalStateException failure = new IllegalStateException("expected");
    CompletionException thrown =
        assertThrows(
            CompletionException.class,
            () ->
                LibraryThread.make(
                    () -> {
                      throw failure;
                    }));
    assertEquals(failure, thrown.getCause());
  }
}
