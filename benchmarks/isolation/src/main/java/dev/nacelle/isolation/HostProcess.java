// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A program of the host, with nothing to read. Its stderr goes to a file, of which the end is kept.
 */
final class HostProcess implements Running {
  private static final int STDERR_KEPT = 4096;
  private static final File NOTHING = new File("/dev/null");

  /** Ends more than the process. */
  interface End {
    void run() throws IOException;
  }

  private final Process process;
  private final Path stderr;
  private final End also;
  private String complaint = "";

  private HostProcess(Process process, Path stderr, End also) {
    this.process = process;
    this.stderr = stderr;
    this.also = also;
  }

  /** Starts a program with this process's environment. */
  static HostProcess start(List<String> command) throws IOException {
    return start(command, null, () -> {});
  }

  /**
   * Starts a program.
   *
   * @param environment its whole environment; null for this process's
   * @param also what else {@link #kill} does
   */
  static HostProcess start(
      List<String> command, @Nullable Map<String, String> environment, End also)
      throws IOException {
    Path stderr = Files.createTempFile("isolation-", ".err");
    try {
      ProcessBuilder builder =
          new ProcessBuilder(command).redirectInput(NOTHING).redirectError(stderr.toFile());
      if (environment != null) {
        builder.environment().clear();
        builder.environment().putAll(environment);
      }
      return new HostProcess(builder.start(), stderr, also);
    } catch (IOException | RuntimeException e) {
      Files.delete(stderr);
      throw e;
    }
  }

  /**
   * Runs a program of the host to its end.
   *
   * @throws IOException when it does not end with 0; the message has its stderr
   */
  static Output run(List<String> command) throws IOException {
    try (HostProcess process = start(command)) {
      return Patience.finish(process, command, Patience.OF_TOOLS).orThrow(command);
    }
  }

  @Override
  public InputStream stdout() {
    return process.getInputStream();
  }

  long pid() {
    return process.pid();
  }

  boolean isAlive() {
    return process.isAlive();
  }

  @Override
  public int waitFor() throws IOException {
    try {
      int code = process.waitFor();
      complaint = tail();
      return code;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted");
    }
  }

  private String tail() throws IOException {
    if (!Files.exists(stderr)) {
      return complaint;
    }
    try (RandomAccessFile file = new RandomAccessFile(stderr.toFile(), "r")) {
      file.seek(Math.max(0, file.length() - STDERR_KEPT));
      byte[] end = new byte[STDERR_KEPT];
      int length = Math.max(0, file.read(end));
      return new String(end, 0, length, StandardCharsets.UTF_8).strip();
    }
  }

  @Override
  public String stderr() {
    return complaint;
  }

  @Override
  public void kill() throws IOException {
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
    also.run();
  }

  @Override
  public void close() throws IOException {
    try {
      if (process.isAlive()) {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
        waitFor();
      }
      process.getInputStream().close();
    } finally {
      Files.deleteIfExists(stderr);
    }
  }
}
