// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import dev.nacelle.isolation.results.Results;
import dev.nacelle.isolation.results.Results.Figure;
import dev.nacelle.isolation.results.Results.Peer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * What README tells of kept results, between two comments, and the pictures that it shows. Nothing
 * there is written by hand, so that no figure is a copy that has grown old.
 */
final class ReadmeTable {
  /** Below the tree, where results are kept and pictures are put. */
  static final String KEPT = "benchmarks/results";

  private static final String BEGIN =
      "<!-- What isolation costs: written by benchmarks/report --readme, from here -->";
  private static final String END = "<!-- to here. -->";

  private ReadmeTable() {}

  /**
   * What the files should hold: README, and a picture for each of the kept results.
   *
   * @param tree the directory of README.md
   * @throws IOException when something cannot be read, lacks a comment, or cannot be compared; the
   *     message says which file and what to do
   */
  static Map<Path, String> wanted(Path tree) throws IOException {
    List<Run> runs = new ArrayList<>();
    for (Path file : kept(tree)) {
      Run run = Run.read(file);
      if (run.results().shortened()) {
        throw new IOException(
            file + " is of a short run, which is not for comparing: keep one of a whole run");
      }
      runs.add(run);
    }
    Path readme = tree.resolve("README.md");
    Map<Path, String> files = new LinkedHashMap<>();
    files.put(readme, between(readme, Files.readString(readme), markdown(runs)));
    for (Run run : runs) {
      String picture = new Pictures(run).costsAlone();
      if (!picture.isEmpty()) {
        files.put(tree.resolve(picture(run)), picture);
      }
    }
    return files;
  }

  /** The files that differ from what {@link #wanted} says, or are not there. */
  static List<Path> stale(Path tree) throws IOException {
    List<Path> stale = new ArrayList<>();
    for (Map.Entry<Path, String> file : wanted(tree).entrySet()) {
      if (!Files.exists(file.getKey())
          || !Files.readString(file.getKey()).equals(file.getValue())) {
        stale.add(file.getKey());
      }
    }
    return stale;
  }

  /** Writes what differs, and returns what that was. */
  static List<Path> update(Path tree) throws IOException {
    List<Path> stale = stale(tree);
    Map<Path, String> wanted = wanted(tree);
    for (Path file : stale) {
      Files.write(file, wanted.get(file).getBytes(StandardCharsets.UTF_8));
    }
    return stale;
  }

  /** Results that are kept, by name. */
  static List<Path> kept(Path tree) throws IOException {
    Path directory = tree.resolve(KEPT);
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(directory)) {
      return files.filter(file -> file.toString().endsWith(".json")).sorted().toList();
    }
  }

  private static String between(Path readme, String text, String table) throws IOException {
    int begin = text.indexOf(BEGIN);
    int end = text.indexOf(END, Math.max(begin, 0));
    if (begin < 0 || end < 0) {
      throw new IOException(
          readme + " lacks the comments between which the figures go:\n" + BEGIN + "\n" + END);
    }
    return text.substring(0, begin + BEGIN.length()) + "\n" + table + text.substring(end);
  }

  private static String markdown(List<Run> runs) {
    StringBuilder text = new StringBuilder("\n");
    if (runs.isEmpty()) {
      text.append("No run is kept yet; `benchmarks/run isolation` takes one here.\n\n");
    }
    for (Run run : runs) {
      one(run, text);
    }
    return text.toString();
  }

  private static void one(Run run, StringBuilder text) {
    Results results = run.results();
    if (!new Pictures(run).costs().isEmpty()) {
      text.append("![What isolation costs, against a bare process](")
          .append(picture(run))
          .append(")\n\n");
    }
    text.append(run.inLab() ? "In the lab, whose clock counts " : "On hardware, in ")
        .append(run.clock())
        .append(
            run.inLab()
                ? ": read the ratios, by which exits are too cheap, and system calls and switches"
                    + " between processes dearer than on hardware. "
                : ". ")
        .append(plain(withoutDirectory(results.image().reference())))
        .append(" on Linux ")
        .append(plain(results.host().kernel()))
        .append(", ")
        .append(plain(results.host().cpu()))
        .append(", ")
        .append(plain(results.taken().replaceAll("T.*", "")))
        .append(rounds(results))
        .append(". Medians, and how many times the bare process's cost they are: ×2 is twice the")
        .append(" time or memory, or half the rate.\n\n|");
    for (Peer peer : run.measured()) {
      text.append(" | ").append(plain(peer.label()));
    }
    text.append(" | n |\n|---").append("|---:".repeat(run.measured().size() + 1)).append("|\n");
    for (Figure figure : results.figures()) {
      text.append("| ").append(plain(figure.title()));
      for (Peer peer : run.measured()) {
        text.append(" | ").append(run.cell(figure, peer).orElse("–"));
      }
      text.append(" | ").append(counts(run, figure)).append(" |\n");
      tail(run, figure, text);
    }
    StringBuilder notes = new StringBuilder();
    for (Figure figure : results.figures()) {
      for (Peer peer : run.measured()) {
        String note = run.entry(figure, peer).note();
        if (note != null) {
          notes
              .append("- ")
              .append(plain(figure.title() + ", " + peer.label() + ": " + note))
              .append(".\n");
        }
      }
    }
    if (notes.length() > 0) {
      text.append("\n").append(notes);
    }
    text.append("\nEvery sample is in [")
        .append(run.name())
        .append("](" + KEPT + "/")
        .append(run.name())
        .append("); `benchmarks/report` makes a page of it, with the spread and what each figure")
        .append(" begins and ends with.\n\n");
  }

  /** A row of its own, where some have samples enough. */
  private static void tail(Run run, Figure figure, StringBuilder text) {
    List<Optional<String>> cells =
        run.measured().stream()
            .map(peer -> Optional.ofNullable(run.entry(figure, peer).statistics()))
            .map(
                statistics ->
                    statistics
                        .flatMap(Statistics::tail)
                        .map(value -> Quantity.of(value, figure.unit())))
            .toList();
    if (cells.stream().anyMatch(Optional::isPresent)) {
      text.append("| ").append(plain(figure.title())).append(": of 100, 99 not beyond");
      cells.forEach(cell -> text.append(" | ").append(cell.orElse("–")));
      text.append(" | ").append(counts(run, figure)).append(" |\n");
    }
  }

  private static String rounds(Results results) {
    Integer rounds = results.rounds();
    if (rounds == null) {
      return "";
    }
    return rounds == 1
        ? ", in one round, so that nobody took turns"
        : ", in " + rounds + " rounds, in each of which all had their turn";
  }

  /** How many samples there are: "10", or "5 to 10". */
  private static String counts(Run run, Figure figure) {
    int[] counts =
        run.results().isolations().stream()
            .map(peer -> run.entry(figure, peer).statistics())
            .filter(statistics -> statistics != null)
            .mapToInt(Statistics::count)
            .toArray();
    OptionalInt least = IntStream.of(counts).min();
    OptionalInt most = IntStream.of(counts).max();
    if (least.isEmpty()) {
      return "–";
    }
    return least.getAsInt() == most.getAsInt()
        ? "" + least.getAsInt()
        : least.getAsInt() + " to " + most.getAsInt();
  }

  /**
   * Of an image that is a file of somebody's host, its name there: "oci:/a/b/debian" is "debian".
   */
  private static String withoutDirectory(String reference) {
    return reference.matches("[a-z-]+:/.*")
        ? reference.substring(reference.lastIndexOf('/') + 1)
        : reference;
  }

  private static String picture(Run run) {
    return KEPT + "/" + run.name().replaceAll("\\.json$", "") + ".svg";
  }

  /** As text in Markdown, on one line: what would mean something there is escaped. */
  static String plain(String text) {
    StringBuilder plain = new StringBuilder();
    text.codePoints()
        .forEach(
            c -> {
              if (c == '\n' || c == '\t') {
                plain.append(' ');
              } else if ("\\`*_[]<>|&#!~".indexOf(c) >= 0) {
                plain.append('\\').appendCodePoint(c);
              } else {
                plain.appendCodePoint(Markup.isPlain(c) ? c : '\ufffd');
              }
            });
    return plain.toString();
  }
}
