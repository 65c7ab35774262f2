// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.FetchProgress.State;
import dev.nacelle.ImageException;
import dev.nacelle.KernelException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.registry.DownloadProgress;
import dev.nacelle.image.registry.FileDownload;
import dev.nacelle.internal.ExternalProcess;
import dev.nacelle.internal.OperatingSystem;
import java.io.IOException;
import java.math.BigInteger;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Finds and fetches Debian's cloud kernels with the machine's own apt, which knows the mirrors, the
 * proxies and the keys, and verifies the signatures.
 */
final class AptKernels {
  private static final int MAX_OUTPUT = 4 << 20;

  /** What apt-get --print-uris prints of a package: its address, file, size and digest. */
  private static final Pattern ADDRESS =
      Pattern.compile(
          "^'(https?://[^'/@]+/[^']+)' [^ ]+ ([0-9]{1,10}) SHA256:([0-9a-f]{64})$",
          Pattern.MULTILINE);

  /** Where apt keeps what its answers depend on (apt.conf(5), Dir::State::Lists and Dir::Etc). */
  private static final List<Path> DEBIAN_STATE =
      List.of(
          Path.of("/var/lib/apt/lists"),
          Path.of("/etc/apt/sources.list"),
          Path.of("/etc/apt/sources.list.d"),
          Path.of("/etc/apt/preferences"),
          Path.of("/etc/apt/preferences.d"));

  private final Path aptCache;
  private final Path aptGet;
  private final List<Path> state;

  /** {@code sha256} is that of the package file, as the signed lists have it. */
  record Candidate(String name, String version, String sha256) {}

  /** Is told how a package arrives; the total is 0 where it is not known. */
  @FunctionalInterface
  interface Arrival {
    void tell(State state, long done, long total);
  }

  /** {@code state}: files and directories that change whenever apt's answers may. */
  AptKernels(Path aptCache, Path aptGet, List<Path> state) {
    this.aptCache = aptCache;
    this.aptGet = aptGet;
    this.state = List.copyOf(state);
  }

  static AptKernels ofThisMachine() {
    return new AptKernels(Path.of("/usr/bin/apt-cache"), Path.of("/usr/bin/apt-get"), DEBIAN_STATE);
  }

  /**
   * Changes whenever apt's answers may: the times at which its lists and configuration were
   * written.
   */
  String stateFingerprint() {
    StringBuilder times = new StringBuilder();
    for (Path path : state) {
      try {
        times.append(path).append(' ').append(Files.getLastModifiedTime(path)).append('\n');
      } catch (IOException e) {
        times.append(path).append(" none\n");
      }
    }
    return Sha256.hex(times.toString().getBytes(StandardCharsets.UTF_8));
  }

  /** The cloud kernels of a series that can be fetched, the newest first; at least one. */
  List<Candidate> offered(String series, Duration deadline) throws IOException {
    long end = System.nanoTime() + deadline.toNanos();
    Path anywhere = Path.of("/");
    String prefix = "linux-image-" + series;
    Pattern wanted =
        Pattern.compile(Pattern.quote(prefix) + "([.+~-][0-9A-Za-z.+~-]*)?-cloud-amd64-unsigned");
    List<String> names =
        run(List.of(aptCache.toString(), "pkgnames", prefix), anywhere, end)
            .lines()
            .filter(name -> wanted.matcher(name).matches())
            .toList();
    if (names.isEmpty()) {
      throw new KernelException(
          KernelException.Reason.NOT_FOUND,
          "This machine's apt offers no " + prefix + "*-cloud-amd64-unsigned",
          "Run apt-get update; a series of another Debian release needs that release among apt's"
              + " sources.",
          null);
    }
    List<String> show = new ArrayList<>(List.of(aptCache.toString(), "show"));
    show.addAll(names);
    List<Candidate> candidates =
        candidates(run(show, anywhere, end)).stream()
            .sorted(
                Comparator.comparing(Candidate::name, AptKernels::compareVersions)
                    .thenComparing(Candidate::version, AptKernels::compareVersions)
                    .reversed())
            .toList();
    if (candidates.isEmpty()) {
      throw new KernelException(
          KernelException.Reason.NOT_FOUND,
          "This machine's apt knows " + names + " but has no source to fetch them from",
          "Run apt-get update.",
          null);
    }
    return candidates;
  }

  /** Reads the stanzas that {@code apt-cache show} prints (deb822(5)). */
  private static List<Candidate> candidates(String stanzas) {
    List<Candidate> candidates = new ArrayList<>();
    Map<String, String> fields = new HashMap<>();
    for (String line : (stanzas + "\n\n").lines().toList()) {
      int colon = line.indexOf(": ");
      if (!line.isEmpty()) {
        if (colon > 0 && line.charAt(0) != ' ') {
          fields.put(line.substring(0, colon), line.substring(colon + 2).strip());
        }
        continue;
      }
      String name = fields.get("Package");
      String version = fields.get("Version");
      String sha256 = fields.get("SHA256");
      // What is installed and no longer offered has no digest.
      if (name != null && version != null && sha256 != null && sha256.matches("[0-9a-f]{64}")) {
        candidates.add(new Candidate(name, version, sha256));
      }
      fields.clear();
    }
    return candidates;
  }

  /**
   * Fetches the package, going on behind what the file holds of it: from the address that apt has
   * it from, or, where that gives nothing, by apt itself, which knows proxies, passwords and other
   * ways to a mirror, and begins anew each time.
   *
   * @param arrival is told how it arrives
   * @param file holds the beginning of the package, or nothing; holds more of it on failure
   */
  void download(Candidate candidate, Path file, Duration deadline, Arrival arrival)
      throws IOException {
    long end = System.nanoTime() + deadline.toNanos();
    Path directory = file.resolveSibling(file.getFileName() + ".apt");
    delete(directory); // left by a process that was killed
    Files.createDirectory(directory);
    try {
      if (!downloadDirectly(candidate, file, directory, end, arrival)) {
        arrival.tell(State.DOWNLOADING, 0, 0);
        downloadByApt(candidate, file, directory, end);
      }
      arrival.tell(State.DONE, Files.size(file), Files.size(file));
    } finally {
      delete(directory);
      if (Files.exists(file) && Files.size(file) == 0) {
        Files.delete(file);
      }
    }
  }

  /** Whether it was there to be had. */
  private boolean downloadDirectly(
      Candidate candidate, Path file, Path directory, long end, Arrival arrival)
      throws IOException {
    Matcher line =
        ADDRESS.matcher(
            run(
                List.of(
                    aptGet.toString(),
                    "-qq",
                    "--print-uris",
                    "download",
                    candidate.name() + "=" + candidate.version()),
                directory,
                end));
    if (!line.find() || !line.group(3).equals(candidate.sha256())) {
      return false;
    }
    long size = Long.parseLong(line.group(2));
    try {
      FileDownload.run(
          URI.create(line.group(1)),
          Digest.parse("sha256:" + candidate.sha256()),
          size,
          file,
          Duration.ofNanos(Math.max(1, end - System.nanoTime())),
          progress(arrival, size));
      return true;
    } catch (IllegalArgumentException e) {
      return false; // an address that only apt understands
    } catch (ImageException e) {
      if (!e.isTransient() || Files.size(file) == 0) {
        return false;
      }
      throw new KernelException(
          KernelException.Reason.NETWORK,
          candidate.name() + " was not downloaded to its end: " + Remedies.without(e),
          "Try again, which goes on from where this ended, or allow more time (fetchTimeout).",
          e);
    }
  }

  private static DownloadProgress progress(Arrival arrival, long size) {
    return new DownloadProgress() {
      @Override
      public void resumed(long done) {
        arrival.tell(State.RESUMED, done, size);
      }

      @Override
      public void advanced(long done) {
        arrival.tell(State.DOWNLOADING, done, size);
      }

      @Override
      public void failed(long done) {
        arrival.tell(State.RETRYING, done, size);
      }
    };
  }

  private void downloadByApt(Candidate candidate, Path file, Path directory, long end)
      throws IOException {
    run(
        List.of(
            aptGet.toString(),
            "-qq",
            "-o",
            "Acquire::Retries=3",
            "download",
            candidate.name() + "=" + candidate.version()),
        directory,
        end);
    Path deb;
    try (Stream<Path> files = Files.list(directory)) {
      deb =
          files
              .filter(path -> path.toString().endsWith(".deb"))
              .findFirst()
              .orElseThrow(() -> new IOException("apt-get download left no file"));
    }
    String sha256 = Sha256.hex(deb);
    if (!sha256.equals(candidate.sha256())) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          candidate.name() + " has the digest " + sha256 + " instead of " + candidate.sha256(),
          "Run apt-get update: the mirror may just be changing.",
          null);
    }
    Files.move(deb, file, StandardCopyOption.REPLACE_EXISTING);
  }

  private static void delete(Path directory) throws IOException {
    if (Files.exists(directory)) {
      try (Stream<Path> files = Files.list(directory)) {
        for (Path left : files.toList()) {
          Files.delete(left);
        }
      }
      Files.delete(directory);
    }
  }

  private String run(List<String> command, Path directory, long end) throws IOException {
    String what = String.join(" ", command.subList(0, Math.min(command.size(), 6)));
    boolean windows = OperatingSystem.isWindows();
    if (windows || !Files.isExecutable(Path.of(command.get(0)))) {
      throw new KernelException(
          KernelException.Reason.HOST_LACKS_TOOL,
          "A debian: kernel is fetched with Debian's apt, and there is no apt on "
              + (windows ? "Windows" : "this machine: " + command.get(0) + " cannot be run"),
          "Use the default kernel, which needs nothing of the machine (the dependency"
              + " dev.nacelle:nacelle-kernel-6.12), or deb:PATH with a package file from elsewhere.",
          null);
    }
    try {
      ExternalProcess done =
          ExternalProcess.run(
              command, directory, MAX_OUTPUT, Duration.ofNanos(end - System.nanoTime()));
      if (done.exitCode() != 0) {
        throw new KernelException(
            KernelException.Reason.NETWORK,
            what + " failed (exit code " + done.exitCode() + "): " + lastLines(done.output()),
            "Check this machine's network, and that apt-get update works.",
            null);
      }
      return done.output();
    } catch (TimeoutException e) {
      throw new KernelException(
          KernelException.Reason.NETWORK,
          what + " did not end in time",
          "Check this machine's network, or allow more time.",
          e);
    }
  }

  private static String lastLines(String output) {
    List<String> lines = output.strip().lines().toList();
    return String.join("; ", lines.subList(Math.max(0, lines.size() - 5), lines.size()));
  }

  /** Numbers by value, the rest by character: enough of deb-version(7) for names of one series. */
  static int compareVersions(String a, String b) {
    int i = 0;
    int j = 0;
    while (i < a.length() && j < b.length()) {
      if (Character.isDigit(a.charAt(i)) && Character.isDigit(b.charAt(j))) {
        int iEnd = digitsEnd(a, i);
        int jEnd = digitsEnd(b, j);
        int order =
            new BigInteger(a.substring(i, iEnd)).compareTo(new BigInteger(b.substring(j, jEnd)));
        if (order != 0) {
          return order;
        }
        i = iEnd;
        j = jEnd;
      } else {
        int order = Integer.compare(weight(a.charAt(i++)), weight(b.charAt(j++)));
        if (order != 0) {
          return order;
        }
      }
    }
    // "~" sorts before even the end of the text.
    if (i < a.length()) {
      return a.charAt(i) == '~' ? -1 : 1;
    }
    return j == b.length() ? 0 : b.charAt(j) == '~' ? 1 : -1;
  }

  private static int weight(char c) {
    return c == '~' ? -1 : Character.isLetter(c) ? c : c + 256;
  }

  private static int digitsEnd(String text, int start) {
    int end = start;
    while (end < text.length() && Character.isDigit(text.charAt(end))) {
      end++;
    }
    return end;
  }
}
