// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * An image under an isolation, for a JMH benchmark of one's own:
 *
 * <pre>{@code
 * @Benchmark
 * public Output hello(IsolationState state) throws IOException {
 *   return state.run("python3", "-c", "print('hello')");
 * }
 * }</pre>
 *
 * <p>with warm-ups, since the first call starts the instance, and {@code -p
 * isolation=bare,runc,nacelle -p image=docker.io/library/python:3.13-slim}. It needs root, for the
 * mounts of all isolations but Nacelle; {@link Setting#ofProperties} says what can be set. Safe for
 * use from several threads.
 */
@State(Scope.Benchmark)
public class IsolationState {
  /**
   * Which: bare, runc, crun, nacelle, nacelle-density, nacelle-debian, qemu, firecracker,
   * cloud-hypervisor, or one of a provider.
   */
  @Param({"bare"})
  public String isolation = "";

  /** An image, as {@link dev.nacelle.image.ImageRef#parse} takes it. */
  @Param({"debian:12"})
  public String image = "";

  /** A command of that image, as {@link #parse} takes it. */
  @Param({"echo ready"})
  public String command = "";

  private @Nullable Session session;
  private boolean isOwn;

  /** Finds the image and unpacks it; the first time that takes as long as a pull. For JMH. */
  @Setup(Level.Trial)
  public void open() throws IOException {
    session = Session.shared().orElse(null);
    isOwn = session == null;
    if (isOwn) {
      session = new Session(Setting.ofProperties(), image);
    }
  }

  /** Ends all that was started. For JMH. */
  @TearDown(Level.Trial)
  public void close() throws IOException {
    if (isOwn) {
      session().close();
    }
    session = null;
  }

  final Session session() {
    if (session == null) {
      throw new IllegalStateException("not between open() and close()");
    }
    return session;
  }

  /** What a benchmark does. */
  interface Call {
    /** Returns what JMH is to believe that somebody needs. */
    Object run() throws IOException;
  }

  /**
   * Does it. In a runner's process what it throws is kept for the runner, and not thrown: JMH would
   * never tear this state down, and give it to the next benchmark.
   */
  final Object attempt(String figure, Call call) throws IOException {
    try {
      return call.run();
    } catch (IOException | RuntimeException e) {
      if (isOwn) {
        throw e;
      }
      session().keepFailure(figure, isolation, e);
      return e;
    }
  }

  /** The isolation. */
  public Isolation isolation() {
    return session().isolation(isolation);
  }

  /** The image and how it is run, without a network. */
  public Workload workload() {
    return session().workload();
  }

  /** The command's words. */
  public List<String> command() {
    return parse(command);
  }

  /** An instance that stays; started when it is first asked for. Not to be closed. */
  public Instance instance() throws IOException {
    return session().instance(isolation);
  }

  /**
   * Runs a command in {@link #instance()} to its end.
   *
   * @throws IOException when it does not end with 0
   */
  public Output run(String... words) throws IOException {
    List<String> command = List.of(words);
    return instance().run(command).orThrow(command);
  }

  /**
   * Runs a workload of the program that measures from inside, in {@link #instance()}: a number for
   * each sample, in nanoseconds or bytes a second.
   *
   * @param workload getpid, read, open, futex, switch, fault, fork, sha256, copy, write, scan,
   *     random-write, random-read, files or fsync
   * @param samples how many
   * @param count of turns or bytes in each
   */
  public List<Double> probe(String workload, int samples, int count) throws IOException {
    return session()
        .probe(isolation, List.of(workload, String.valueOf(samples), String.valueOf(count)));
  }

  /**
   * Splits a command into words as a shell does that knows spaces and both kinds of quotes, and
   * nothing else.
   *
   * @throws IllegalArgumentException when a quote does not end, or there is no word
   */
  public static List<String> parse(String command) {
    List<String> words = new ArrayList<>();
    StringBuilder word = new StringBuilder();
    boolean inWord = false;
    char quote = 0;
    for (char c : command.toCharArray()) {
      if (quote != 0) {
        if (c == quote) {
          quote = 0;
        } else {
          word.append(c);
        }
      } else if (c == '\'' || c == '"') {
        quote = c;
        inWord = true;
      } else if (!Character.isWhitespace(c)) {
        word.append(c);
        inWord = true;
      } else if (inWord) {
        words.add(word.toString());
        word.setLength(0);
        inWord = false;
      }
    }
    if (quote != 0) {
      throw new IllegalArgumentException("a " + quote + " without its end: " + command);
    }
    if (inWord) {
      words.add(word.toString());
    }
    if (words.isEmpty()) {
      throw new IllegalArgumentException("an empty command");
    }
    return words;
  }
}
