// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Makes a page of results, or renews README's figures; benchmarks/report runs it. */
public final class Report {
  private Report() {}

  /**
   * Ends the JVM with 1 where that cannot be done, and says why.
   *
   * @param arguments the tree's directory; then {@code --readme}, or the page's file and those of
   *     the results, of which none means those that are kept
   */
  public static void main(String... arguments) {
    try {
      run(System.out, List.of(arguments));
    } catch (IOException e) {
      System.err.println("report: " + (e.getMessage() == null ? e : e.getMessage()));
      System.exit(1);
    }
  }

  static void run(PrintStream out, List<String> arguments) throws IOException {
    Path tree = Path.of(arguments.get(0));
    if (arguments.get(1).equals("--readme")) {
      for (Path file : ReadmeTable.update(tree)) {
        out.println("written: " + file);
      }
      return;
    }
    List<Path> files = arguments.stream().skip(2).map(Path::of).toList();
    if (files.isEmpty()) {
      files = ReadmeTable.kept(tree);
    }
    if (files.isEmpty()) {
      throw new IOException(
          "there are no results in "
              + tree.resolve(ReadmeTable.KEPT)
              + ": name a file, as benchmarks/run isolation writes it");
    }
    List<Run> runs = new ArrayList<>();
    for (Path file : files) {
      if (!Files.isRegularFile(file)) {
        throw new IOException(file + " is no file that can be read");
      }
      runs.add(Run.read(file));
    }
    Path page = Path.of(arguments.get(1));
    Files.write(page, Page.of(runs).getBytes(StandardCharsets.UTF_8));
    out.println(page.toAbsolutePath().normalize());
  }
}
