// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A program that ran to its end: without a shell, with bounded output and a deadline.
 *
 * @param exitCode as the program ended
 * @param output what it wrote, as far as it was kept
 */
public record ExternalProcess(int exitCode, String output) {
  /** A page, which a pipe holds even where its user has too many of them (pipe(7)). */
  private static final int MAX_INPUT = 4 << 10;

  /**
   * Runs a program, with an empty stdin; its output is stdout and stderr together. On any exception
   * it and what it started are killed; what it left running when it ended is not known.
   *
   * @param command the program and its arguments, as they are
   * @param directory its working directory
   * @param maxOutput how many bytes of output are kept; the rest is read and dropped
   * @throws IOException when it cannot be started
   * @throws TimeoutException when the deadline passed
   * @throws InterruptedIOException when the calling thread was interrupted; its flag stays set
   */
  public static ExternalProcess run(
      List<String> command, Path directory, int maxOutput, Duration deadline)
      throws IOException, TimeoutException {
    ProcessBuilder builder =
        new ProcessBuilder(command).directory(directory.toFile()).redirectErrorStream(true);
    return run(inEnglish(builder), new byte[0], maxOutput, deadline);
  }

  /**
   * As {@link #run(List, Path, int, Duration)}, with another stdin and environment.
   *
   * @param environment all that it gets
   * @param stdin the file that it reads
   */
  public static ExternalProcess run(
      List<String> command,
      Path directory,
      Map<String, String> environment,
      Path stdin,
      int maxOutput,
      Duration deadline)
      throws IOException, TimeoutException {
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(directory.toFile())
            .redirectErrorStream(true)
            .redirectInput(stdin.toFile());
    builder.environment().clear();
    builder.environment().putAll(environment);
    return run(builder, new byte[0], maxOutput, deadline);
  }

  /**
   * As {@link #run(List, Path, int, Duration)}, in the working directory of this process, with
   * stdin; its output is stdout alone, and stderr is dropped.
   *
   * @param input at most 4 KiB, which a pipe takes without a reader
   */
  public static ExternalProcess filter(
      List<String> command, byte[] input, int maxOutput, Duration deadline)
      throws IOException, TimeoutException {
    if (input.length > MAX_INPUT) {
      throw new IllegalArgumentException("more than 4 KiB of input");
    }
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD);
    return run(inEnglish(builder), input, maxOutput, deadline);
  }

  /** Messages are shown to people and looked at by programs: not in the language of the user. */
  private static ProcessBuilder inEnglish(ProcessBuilder builder) {
    builder.environment().put("LC_ALL", "C.UTF-8");
    return builder;
  }

  private static ExternalProcess run(
      ProcessBuilder builder, byte[] input, int maxOutput, Duration deadline)
      throws IOException, TimeoutException {
    long end = System.nanoTime() + deadline.toNanos();
    String program = builder.command().get(0);
    Process process = builder.start();
    FutureTask<String> output = new FutureTask<>(() -> drain(process.getInputStream(), maxOutput));
    Thread reader = new LibraryThread(output, "nacelle-output-of-" + program);
    reader.start();
    try {
      write(process.getOutputStream(), input);
      if (!process.waitFor(end - System.nanoTime(), TimeUnit.NANOSECONDS)) {
        throw new TimeoutException();
      }
      // Something it started may hold the pipe open, so its end does not end the output.
      return new ExternalProcess(
          process.exitValue(), output.get(end - System.nanoTime(), TimeUnit.NANOSECONDS));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      InterruptedIOException interrupted =
          new InterruptedIOException("interrupted while running " + program);
      interrupted.initCause(e);
      throw interrupted;
    } catch (ExecutionException e) {
      throw new IOException("cannot read the output of " + program, e.getCause());
    } finally {
      // Its children first: once it has ended nobody knows them any more.
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }

  private static void write(OutputStream stdin, byte[] input) {
    try (stdin) {
      stdin.write(input);
    } catch (IOException e) {
      // It did not want to know; its exit code says whether that was all right.
    }
  }

  private static String drain(InputStream in, int maxOutput) throws IOException {
    try (in) {
      byte[] kept = in.readNBytes(maxOutput);
      in.transferTo(OutputStream.nullOutputStream());
      return new String(kept, StandardCharsets.UTF_8);
    }
  }
}
