// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import dev.nacelle.Nacelle;
import dev.nacelle.NacelleException;
import dev.nacelle.SandboxSpec;
import java.io.IOException;
import java.io.PrintStream;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * Runs a sample by its name, for {@code samples/run}. What is wrong with a reference, an image, a
 * kernel or this host is told in one line, for every sample alike.
 */
final class Launcher {
  /** A program's main method. */
  @FunctionalInterface
  private interface Program {
    void run(String... arguments) throws IOException, InterruptedException;
  }

  /**
   * @param program whose first argument is an image, where it takes any
   * @param specs what it starts with those arguments
   */
  private record Sample(Program program, Function<String[], List<SandboxSpec>> specs) {}

  private static final Map<String, Sample> SAMPLES =
      Map.of(
          "check-host",
          new Sample(CheckHost::main, arguments -> List.of()),
          "code-runner",
          new Sample(Launcher::codeRunner, image -> List.of(CodeRunner.sandbox(image[0]))),
          "kernels",
          new Sample(KernelsSideBySide::main, KernelsSideBySide::specs),
          "network",
          new Sample(NetworkTour::main, image -> List.of(NetworkTour.sandbox(image[0]))),
          "plugins",
          new Sample(PluginHost::main, image -> List.of(PluginHost.sandbox(image[0]))),
          "python",
          new Sample(PythonUnderTwoKernels::main, PythonUnderTwoKernels::specs));

  private Launcher() {}

  /**
   * @param arguments {@code --prepare} to fetch all that the sample starts, which needs no
   *     hypervisor, and not to run it; the sample's name; its arguments. The system property {@code
   *     terminal} says whether stderr is one.
   */
  public static void main(String... arguments) throws InterruptedException {
    if (!run(System.err, arguments)) {
      System.exit(1);
    }
  }

  /**
   * @return false when it failed, as {@code err} says
   */
  static boolean run(PrintStream err, String... arguments) throws InterruptedException {
    boolean prepare = arguments[0].equals("--prepare");
    int at = prepare ? 1 : 0;
    String name = arguments[at];
    String[] rest = Arrays.copyOfRange(arguments, at + 1, arguments.length);
    Sample sample = SAMPLES.get(name);
    if (sample == null) {
      throw new IllegalArgumentException("no sample " + name);
    }
    List<SandboxSpec> specs;
    try {
      specs = sample.specs().apply(rest);
    } catch (IllegalArgumentException e) {
      err.println(line(name, e));
      return false;
    }
    try {
      if (prepare) {
        prepare(err, name, specs);
      } else {
        sample.program().run(rest);
      }
      return true;
    } catch (NacelleException | IOException e) {
      err.println(line(name, e));
      return false;
    }
  }

  private static void prepare(PrintStream err, String name, List<SandboxSpec> specs) {
    Nacelle.Builder nacelle =
        Nacelle.builder().fetchListener(new PullProgressLine(err, Boolean.getBoolean("terminal")));
    for (SandboxSpec spec : specs) {
      err.println(name + ": fetching and unpacking " + spec.image() + ", kernel " + spec.kernel());
      nacelle.prepare(spec);
    }
  }

  /** A message, which has the remedy at its end, in one line. */
  static String line(String name, Exception failure) {
    String message = failure.getMessage() == null ? failure.toString() : failure.getMessage();
    return name + ": " + message.strip().replaceAll("\\s*\n\\s*", " | ");
  }

  private static void codeRunner(String... arguments) throws IOException, InterruptedException {
    if (arguments.length > 1 && arguments[1].equals("--demo")) {
      CodeRunnerDemo.run(arguments[0]);
    } else {
      CodeRunner.main(arguments);
    }
  }
}
