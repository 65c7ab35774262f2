// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import dev.nacelle.image.testing.Tool;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Another JVM with the class path of this one, which a test talks to by lines, or kills. */
public final class OtherProcess implements AutoCloseable {
  private final Process process;
  private final BufferedReader output;
  private final PrintStream input;

  private OtherProcess(Process process) {
    this.process = process;
    output = process.inputReader(StandardCharsets.UTF_8);
    input = new PrintStream(process.getOutputStream(), true, StandardCharsets.UTF_8);
  }

  /** Runs a class's main method. */
  public static OtherProcess start(Class<?> main, Object... arguments) throws IOException {
    return startWithHeap("256m", main, arguments);
  }

  /** Likewise, with no more heap than that, as -Xmx has it. */
  public static OtherProcess startWithHeap(String heap, Class<?> main, Object... arguments)
      throws IOException {
    ProcessBuilder builder = new ProcessBuilder(command(heap, main, arguments));
    return new OtherProcess(builder.redirectError(ProcessBuilder.Redirect.INHERIT).start());
  }

  /**
   * What such a process prints until it ends, with the programs of a directory on its PATH; an
   * AssertionError where it fails.
   */
  public static String runWithPrograms(Path directory, Class<?> main, Object... arguments) {
    Map<String, String> path =
        Map.of("PATH", directory + File.pathSeparator + System.getenv("PATH"));
    return Tool.run(directory, path, command("256m", main, arguments));
  }

  private static List<String> command(String heap, Class<?> main, Object... arguments) {
    String classPath =
        Stream.of("java.class.path", "jdk.module.path")
            .map(name -> System.getProperty(name, ""))
            .filter(path -> !path.isEmpty())
            .collect(Collectors.joining(File.pathSeparator));
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xmx" + heap,
            "-cp",
            classPath,
            main.getName()));
    Stream.of(arguments).map(Object::toString).forEach(command::add);
    return command;
  }

  /** The next line that it prints; null at its end. */
  public String read() throws IOException {
    return output.readLine();
  }

  /** Says a line to it. */
  public void say(String line) {
    input.println(line);
  }

  /** SIGKILL; returns when it is gone. */
  public void kill() throws InterruptedException {
    process.destroyForcibly().waitFor();
  }

  /** Its exit code, when it has ended by itself. */
  public int waitFor() throws InterruptedException {
    return process.waitFor();
  }

  @Override
  public void close() throws InterruptedException {
    kill();
  }
}
