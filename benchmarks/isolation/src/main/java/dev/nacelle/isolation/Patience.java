// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.math.BigDecimal;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** What a command may take of time and write, so that none holds up a run for ever. */
final class Patience {
  /** For programs of the host that only prepare or tell something. */
  static final Duration OF_TOOLS = Duration.ofMinutes(10);

  private static final int MOST_OUTPUT = 16 << 20;

  /** Something that waits. */
  interface Call<T> {
    T get() throws IOException;
  }

  private Patience() {}

  /**
   * Waits, and no longer than that: then it kills the command, so that what waits for it goes on.
   *
   * @throws IOException what the call throws, or that it took too long, with the command
   */
  static <T> T within(Duration limit, List<String> command, Running running, Call<T> call)
      throws IOException {
    // The JDK has one thread for all such limits, which is not to be held up.
    CompletableFuture<Void> alarm = new CompletableFuture<>();
    CompletableFuture<Void> killed = new CompletableFuture<>();
    var unused =
        alarm
            .orTimeout(limit.toNanos(), TimeUnit.NANOSECONDS)
            .whenComplete(
                (none, late) -> {
                  if (late != null) {
                    new Thread(() -> kill(running, killed), "isolation-kill").start();
                  }
                });
    try {
      T value = call.get();
      if (alarm.complete(null)) {
        return value;
      }
      throw tooLate(limit, command, null);
    } catch (IOException | RuntimeException e) {
      if (alarm.complete(null)) {
        throw e;
      }
      throw tooLate(limit, command, e);
    } finally {
      if (alarm.isCompletedExceptionally()) {
        killed.join();
      }
    }
  }

  private static void kill(Running running, CompletableFuture<Void> killed) {
    try {
      running.kill();
    } catch (IOException | RuntimeException e) {
      System.err.println("killing a command that does not end: " + e.getMessage());
    } finally {
      killed.complete(null);
    }
  }

  private static IOException tooLate(
      Duration limit, List<String> command, @org.jspecify.annotations.Nullable Exception cause) {
    return new IOException(
        String.join(" ", command)
            + ": it, or what it left with its output open, has not ended within "
            + BigDecimal.valueOf(limit.toMillis(), 3).stripTrailingZeros().toPlainString()
            + " s",
        cause);
  }

  /**
   * Reads what a command writes, and waits for its end.
   *
   * @throws IOException when that takes too long, or it writes more than 16 MiB
   */
  static Output finish(Running running, List<String> command, Duration limit) throws IOException {
    return within(
        limit,
        command,
        running,
        () -> {
          byte[] output = running.stdout().readNBytes(MOST_OUTPUT + 1);
          if (output.length > MOST_OUTPUT) {
            throw new IOException(
                String.join(" ", command)
                    + ": it writes more than 16 MiB, which nobody reads here");
          }
          return new Output(running.waitFor(), output, running.stderr());
        });
  }
}
