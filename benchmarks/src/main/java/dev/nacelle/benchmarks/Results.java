// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Raw results: one comma-separated file of a benchmark, below the directory that the system
 * property {@code nacelle.results} names, with a line per measured value.
 */
public final class Results implements AutoCloseable {
  private final Path file;
  private final List<String> lines = new ArrayList<>();

  /**
   * @param name of the file, without an extension
   * @param columns what each line holds
   */
  public Results(String name, String columns) {
    file = Path.of(System.getProperty("nacelle.results", "."), name + ".csv");
    lines.add(columns);
  }

  /** Adds a line. */
  public void add(Object... cells) {
    StringBuilder line = new StringBuilder();
    for (Object cell : cells) {
      line.append(line.length() == 0 ? "" : ",").append(cell);
    }
    lines.add(line.toString());
  }

  /** Adds a line for each sample: the name, its number, the value. */
  public void add(String name, Samples samples) {
    for (int i = 0; i < samples.count(); i++) {
      add(name, i, samples.get(i));
    }
  }

  /** Writes the file. */
  @Override
  public void close() {
    try {
      Files.createDirectories(file.toAbsolutePath().getParent());
      Files.write(file, lines);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    System.out.println("raw results: " + file);
  }
}
