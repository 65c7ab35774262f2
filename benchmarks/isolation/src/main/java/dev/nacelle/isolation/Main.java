// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.DataSize;
import dev.nacelle.NacelleException;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.isolation.results.Results;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** {@code benchmarks/run isolation}, once all is prepared. */
public final class Main {
  private static final Set<String> OPTIONS =
      Set.of(
          "--image",
          "--command",
          "--isolations",
          "--figures",
          "--rounds",
          "--instances",
          "--budget",
          "--output");

  private Main() {}

  /**
   * @param arguments options, as {@code benchmarks/run --help} lists them
   */
  public static void main(String... arguments) {
    System.exit(run(arguments));
  }

  static int run(String... arguments) {
    Map<String, String> options = new HashMap<>();
    boolean shortened = false;
    boolean prepares = false;
    List<String> left = new ArrayList<>(List.of(arguments));
    while (!left.isEmpty()) {
      String option = left.remove(0);
      if (option.equals("--short")) {
        shortened = true;
      } else if (option.equals("--prepare")) {
        prepares = true;
      } else if (OPTIONS.contains(option) && !left.isEmpty()) {
        options.put(option, left.remove(0));
      } else {
        System.err.println(
            "benchmarks/run isolation: not an option, or one without its value: " + option);
        return 2;
      }
    }
    try {
      Path output = Path.of(options.getOrDefault("--output", "isolation.json")).toAbsolutePath();
      Results.requireWritable(output);
      return prepares ? prepare(options, shortened) : run(options, shortened, output);
    } catch (IllegalArgumentException e) {
      System.err.println("benchmarks/run isolation: " + e.getMessage());
      return 2;
    } catch (IOException | NacelleException e) {
      System.err.println("benchmarks/run isolation: " + e.getMessage());
      return 1;
    }
  }

  private static int run(Map<String, String> options, boolean shortened, Path output)
      throws IOException {
    try (Session session =
        new Session(Setting.ofProperties(), options.getOrDefault("--image", "debian:12"))) {
      session.share();
      Run.Order order = order(session.isolations(), options, shortened);
      Run run = new Run(session, order, output);
      Results results = run.take();
      System.out.print(Tables.of(results));
      System.out.println("results: " + output);
      return run.hasFailed() || options.containsKey("--isolations") && run.isIncomplete() ? 1 : 0;
    }
  }

  /** Fetches all that a run needs, and says how long that will take. */
  private static int prepare(Map<String, String> options, boolean shortened) throws IOException {
    Setting setting = Setting.ofProperties();
    List<Isolation> all = Isolations.all(setting, Path.of("/"));
    try {
      Run.Order order = order(all, options, shortened);
      ImageRef image = ImageRef.parse(options.getOrDefault("--image", "debian:12"));
      new ImageStore(setting.cache().resolve("images")).resolve(image);
      for (Isolation isolation : all) {
        if (order.isolations().contains(isolation.name())) {
          isolation.prepare(image);
        }
      }
      Duration expected = Run.expected(order, Boolean.getBoolean("nacelle.isolation.icount"));
      System.out.println(
          "It takes about "
              + (expected.toMinutes() + 1)
              + " min where the machine has nothing else to do: see --figures, --rounds.");
      return 0;
    } finally {
      for (Isolation isolation : all) {
        isolation.close();
      }
    }
  }

  private static Run.Order order(
      List<Isolation> all, Map<String, String> options, boolean shortened) {
    List<String> names = all.stream().map(Isolation::name).toList();
    List<String> isolations =
        options.containsKey("--isolations")
            ? words(options.get("--isolations"))
            : all.stream().filter(Isolation::isUsual).map(Isolation::name).toList();
    for (String name : isolations) {
      if (!names.contains(name)) {
        throw new IllegalArgumentException(
            "there is no isolation '" + name + "', but " + String.join(", ", names));
      }
    }
    List<Plan> plans =
        options.containsKey("--figures")
            ? words(options.get("--figures")).stream().map(Plan::of).toList()
            : Plan.all();
    String command = options.getOrDefault("--command", "echo ready");
    IsolationState.parse(command);
    return new Run.Order(
        command,
        isolations,
        plans,
        shortened ? 1 : number(options.getOrDefault("--rounds", "3")),
        shortened,
        words(options.getOrDefault("--instances", shortened ? "1" : "1,10,50")).stream()
            .map(Main::number)
            .sorted()
            .toList(),
        DataSize.parse(options.getOrDefault("--budget", shortened ? "16MiB" : "256MiB")).bytes());
  }

  private static List<String> words(String list) {
    return Arrays.stream(list.split(",", -1)).map(String::strip).distinct().toList();
  }

  private static int number(String text) {
    if (!text.matches("[1-9][0-9]{0,3}")) {
      throw new IllegalArgumentException("not a number from 1 to 9999: " + text);
    }
    return Integer.parseInt(text);
  }
}
