// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.DataSize;
import dev.nacelle.image.ImageConfig;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * One image under several isolations, in this process. Of each there is one instance that all share
 * who measure in a running instance; it is started when it is first asked for. Safe for use from
 * several threads.
 */
final class Session implements AutoCloseable {
  private static final String USUAL_PATH =
      "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  private static final DataSize MEMORY = DataSize.mebibytes(512);

  private record Failure(String why, boolean isWrong) {}

  /** JMH makes its states itself: what those of one run share can be found nowhere else. */
  private static final AtomicReference<@Nullable Session> SHARED = new AtomicReference<>();

  private final Deque<AutoCloseable> open = new ArrayDeque<>();
  private final Map<String, Isolation> isolations = new LinkedHashMap<>();
  private final Map<String, Instance> instances = new HashMap<>();
  private final Map<List<String>, List<Double>> samples = new HashMap<>();
  private final Map<List<String>, Failure> failures = new HashMap<>();
  private final Map<List<String>, String> notes = new HashMap<>();
  private final Duration patience;
  private final String image;
  private final String digest;
  private final Workload workload;
  private final Workload withService;
  private final Path probe;

  /**
   * Finds the image, and pulls and unpacks it where that was not done yet.
   *
   * @param image as {@link dev.nacelle.image.ImageRef#parse} takes it
   */
  Session(Setting setting, String image) throws IOException {
    this.image = image;
    patience = setting.patience();
    try {
      Path work = Files.createTempDirectory(setting.work(), "isolation-");
      open.push(() -> InstanceRoot.removeTree(work));
      Setting here = new Setting(setting.cache(), work, setting.programs(), setting.patience());
      probe = Probe.unpack(work);
      for (Isolation isolation : Isolations.all(here, probe)) {
        isolations.put(isolation.name(), isolation);
        open.push(isolation);
      }
      UnpackedImage unpacked = UnpackedImage.open(setting.cache(), image, work.resolve("image"));
      open.push(unpacked);
      digest = unpacked.digest();
      EchoServer server = new EchoServer();
      open.push(server);
      ImageConfig config = unpacked.config();
      workload =
          new Workload(
              unpacked.reference(),
              unpacked.root(),
              environment(config),
              config.user().orElse("0:0"),
              config.workingDirectory().orElse("/"),
              MEMORY,
              1,
              Optional.empty());
      withService = workload.withService(server.address());
    } catch (IOException | RuntimeException e) {
      try (this) {
        throw e;
      }
    }
  }

  private static Map<String, String> environment(ImageConfig config) {
    Map<String, String> environment = new HashMap<>(Map.of("PATH", USUAL_PATH));
    for (String variable : config.environment()) {
      int equals = variable.indexOf('=');
      if (equals > 0) {
        environment.put(variable.substring(0, equals), variable.substring(equals + 1));
      }
    }
    return environment;
  }

  /** The one that this process's states use, where a runner made one. */
  static Optional<Session> shared() {
    return Optional.ofNullable(SHARED.get());
  }

  /** From now on this process's states use this one, until it is closed. */
  void share() {
    if (!SHARED.compareAndSet(null, this)) {
      throw new IllegalStateException("there is a shared session already");
    }
  }

  String image() {
    return image;
  }

  String digest() {
    return digest;
  }

  /** How long a command may take. */
  Duration patience() {
    return patience;
  }

  /** The probe on the host. */
  Path probe() {
    return probe;
  }

  /** Without a network. */
  Workload workload() {
    return workload;
  }

  List<Isolation> isolations() {
    return List.copyOf(isolations.values());
  }

  Isolation isolation(String name) {
    Isolation isolation = isolations.get(name);
    if (isolation == null) {
      throw new IllegalArgumentException(
          "there is no isolation '"
              + name
              + "', but "
              + isolations.keySet().stream().collect(Collectors.joining(", ")));
    }
    return isolation;
  }

  /** The shared one of an isolation, with the probe in it and the network that has the service. */
  synchronized Instance instance(String name) throws IOException {
    Instance known = instances.get(name);
    if (known != null) {
      return known;
    }
    Isolation isolation = isolation(name);
    Optional<String> unavailable = isolation.unavailable();
    if (unavailable.isPresent()) {
      throw new IOException(name + ": " + unavailable.get());
    }
    Instance instance = isolation.start(withService);
    try {
      instance.put(probe, Probe.PATH);
    } catch (IOException | RuntimeException e) {
      try (instance) {
        throw e;
      }
    }
    instances.put(name, instance);
    return instance;
  }

  /** Closes the shared instance of an isolation, where there is one; another may follow. */
  synchronized void closeInstance(String name) throws IOException {
    Instance instance = instances.remove(name);
    if (instance != null) {
      instance.close();
    }
  }

  /** Runs the probe in the shared instance of an isolation: a number for each sample. */
  List<Double> probe(String isolation, List<String> arguments) throws IOException {
    List<String> command = new ArrayList<>(List.of(Probe.PATH));
    command.addAll(arguments);
    return numbers(instance(isolation).run(command).orThrow(command));
  }

  /**
   * Has a program of the host ask the server of all network figures until Java has compiled it:
   * else whoever is measured first is told slower than the others.
   */
  void warmServer() throws IOException {
    String address = Host.text(withService.service().orElseThrow());
    for (String workload : List.of("tcp-latency", "tcp-connect", "tcp-up", "tcp-down")) {
      int count =
          switch (workload) {
            case "tcp-latency" -> 2000;
            case "tcp-connect" -> 200;
            default -> 16 << 20;
          };
      HostProcess.run(List.of(probe.toString(), workload, "2", String.valueOf(count), address));
    }
  }

  static List<Double> numbers(Output output) {
    return output.text().lines().map(Double::valueOf).toList();
  }

  /** Keeps samples of a figure. */
  synchronized void keep(String figure, String isolation, List<Double> values) {
    samples.computeIfAbsent(List.of(figure, isolation), key -> new ArrayList<>()).addAll(values);
  }

  /** Forgets a figure's samples, and returns how many they were. */
  synchronized int discard(String figure, String isolation) {
    List<Double> discarded = samples.remove(List.of(figure, isolation));
    return discarded == null ? 0 : discarded.size();
  }

  /** Keeps why a figure could not be taken, or not any more; the first reason stays. */
  synchronized void keepFailure(String figure, String isolation, Throwable why) {
    // A file's exceptions have but its name for a message.
    boolean isBare = why.getMessage() == null || why instanceof FileSystemException;
    String message = isBare ? why.toString() : why.getMessage();
    failures.putIfAbsent(
        List.of(figure, isolation), new Failure(message, !(why instanceof Missing)));
  }

  /** Keeps what is to be known of a figure's samples, or why there are none. */
  synchronized void keepNote(String figure, String isolation, String note) {
    notes.put(List.of(figure, isolation), note);
  }

  synchronized Optional<String> note(String figure, String isolation) {
    return Optional.ofNullable(notes.get(List.of(figure, isolation)));
  }

  synchronized List<Double> samples(String figure, String isolation) {
    return List.copyOf(samples.getOrDefault(List.of(figure, isolation), List.of()));
  }

  synchronized Optional<String> failure(String figure, String isolation) {
    return Optional.ofNullable(failures.get(List.of(figure, isolation))).map(Failure::why);
  }

  /** Whether something went wrong: an image that has not what a figure takes is none of that. */
  synchronized boolean hasFailed(String figure, String isolation) {
    Failure failure = failures.get(List.of(figure, isolation));
    return failure != null && failure.isWrong();
  }

  @Override
  public synchronized void close() throws IOException {
    SHARED.compareAndSet(this, null);
    IOException failed = null;
    instances.values().forEach(open::push);
    instances.clear();
    while (!open.isEmpty()) {
      try {
        open.pop().close();
      } catch (Exception e) {
        failed = failed == null ? new IOException(e.getMessage(), e) : failed;
        failed.addSuppressed(e);
      }
    }
    if (failed != null) {
      throw failed;
    }
  }
}
