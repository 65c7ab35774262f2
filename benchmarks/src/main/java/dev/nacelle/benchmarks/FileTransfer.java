// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import dev.nacelle.DataDisk;
import dev.nacelle.DataSize;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestFiles;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.stream.Stream;

/**
 * Times files in and out: one large file, and a tree of many small ones, by {@code files()} and by
 * tar(1) on both sides of an exec, which is what {@code docker cp} does; and a data disk made of
 * the same. Needs a KVM that boots kernels, and tar on the host and in the image.
 */
public final class FileTransfer {
  private static final int LARGE = 64 << 20;
  private static final int DIRECTORIES = 100;
  private static final int FILES = 10_000;
  private static final int SMALL = 4096;
  private static final String IN = "/tmp/in";

  private final Path work;
  private final Nacelle nacelle;
  private final Sandbox sandbox;
  private final GuestFiles files;

  private FileTransfer(Path work, Nacelle nacelle, Sandbox sandbox) {
    this.work = work;
    this.nacelle = nacelle;
    this.sandbox = sandbox;
    files = sandbox.files();
  }

  /** One way to move a directory. */
  @FunctionalInterface
  private interface Way {
    void run() throws Exception;
  }

  /**
   * @param arguments the cache's directory, the kernel's and the image's reference (with tar), and
   *     how many rounds count, after one that does not
   */
  public static void main(String... arguments) throws Exception {
    int rounds = Integer.parseInt(arguments[3]);
    Path work = Files.createTempDirectory("nacelle-files");
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(arguments[2])
            .kernel(arguments[1])
            .memory(DataSize.mebibytes(512))
            .startTimeout(Duration.ofMinutes(10))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(Path.of(arguments[0])).build();
        Sandbox sandbox = nacelle.start(spec);
        Results results = new Results("files", "what,way,round,nanos")) {
      FileTransfer transfer = new FileTransfer(work, nacelle, sandbox);
      Table table = new Table("", "files()", "tar by exec", "disk made of it");
      Path large = Files.createDirectory(work.resolve("large"));
      byte[] content = new byte[LARGE];
      new Random(1).nextBytes(content);
      Files.write(large.resolve("file"), content);
      transfer.compare(
          table, results, "a file of 64 MiB", large, rounds, LARGE / 1048576.0, "MiB/s");
      Files.delete(large.resolve("file"));
      Path small = Files.createDirectory(work.resolve("small"));
      for (int i = 0; i < FILES; i++) {
        Path directory = small.resolve("d" + i % DIRECTORIES);
        Files.createDirectories(directory);
        byte[] own = new byte[SMALL];
        new Random(i).nextBytes(own);
        Files.write(directory.resolve("file-" + i), own);
      }
      transfer.compare(table, results, "10,000 files of 4 KiB", small, rounds, FILES, "files/s");
      System.out.print(table);
    } finally {
      delete(work);
    }
  }

  private void compare(
      Table table,
      Results results,
      String what,
      Path directory,
      int rounds,
      double amount,
      String unit)
      throws Exception {
    Path out = work.resolve("out");
    Path disk = work.resolve("disk");
    boolean isTree = directory.endsWith("small");
    Samples in =
        time(
            rounds,
            () -> {
              if (isTree) {
                files.writeTree(IN, directory);
              } else {
                files.makeDirectories(IN);
                files.write(IN + "/file", directory.resolve("file"));
              }
            },
            () -> files.removeTree(IN));
    Samples tarIn = time(rounds, () -> tarIn(directory), () -> files.removeTree(IN));
    files.writeTree(IN, directory);
    Samples outward =
        time(
            rounds,
            () -> {
              if (isTree) {
                files.readTree(IN, out);
              } else {
                files.read(IN + "/file", Files.createDirectory(out).resolve("file"));
              }
            },
            () -> delete(out));
    Samples tarOut = time(rounds, () -> tarOut(out), () -> delete(out));
    files.removeTree(IN);
    Samples made =
        time(
            rounds,
            () -> nacelle.makeDisk(DataDisk.of(directory).readOnly(), disk),
            () -> Files.delete(disk));
    results.add(what + " in,files()", in);
    results.add(what + " in,tar", tarIn);
    results.add(what + " out,files()", outward);
    results.add(what + " out,tar", tarOut);
    results.add(what + " in,disk", made);
    table.row(what + " in, " + unit, rate(amount, in), rate(amount, tarIn), rate(amount, made));
    table.row(what + " out, " + unit, rate(amount, outward), rate(amount, tarOut), "");
  }

  private static String rate(double amount, Samples samples) {
    return String.format(Locale.ROOT, "%.0f", amount / (samples.median() / 1e9));
  }

  private static Samples time(int rounds, Way way, Way cleanUp) throws Exception {
    Samples samples = new Samples();
    for (int round = -1; round < rounds; round++) {
      long start = System.nanoTime();
      way.run();
      if (round >= 0) {
        samples.add(System.nanoTime() - start);
      }
      cleanUp.run();
    }
    return samples;
  }

  private void tarIn(Path directory) throws Exception {
    Process tar = new ProcessBuilder("tar", "-C", directory.toString(), "-cf", "-", ".").start();
    require(
        sandbox
            .exec(
                ProcessSpec.builder("sh", "-c", "mkdir " + IN + " && exec tar -C " + IN + " -xf -")
                    .stdin(tar.getInputStream())
                    .build())
            .status());
    require(tar);
  }

  private void tarOut(Path to) throws Exception {
    Files.createDirectory(to);
    Process tar = new ProcessBuilder("tar", "-C", to.toString(), "-xf", "-").start();
    try (OutputStream stdin = tar.getOutputStream()) {
      require(
          sandbox.exec(
              ProcessSpec.of("tar", "-C", IN, "-cf", "-", "."),
              (stream, bytes) -> stdin.write(bytes)));
    }
    require(tar);
  }

  private static void require(ExitStatus status) {
    if (!status.succeeded()) {
      throw new IllegalStateException("tar in the guest: " + status);
    }
  }

  private static void require(Process tar) throws InterruptedException {
    if (tar.waitFor() != 0) {
      throw new IllegalStateException("tar on the host: exit code " + tar.exitValue());
    }
  }

  private static void delete(Path directory) throws IOException {
    List<Path> all;
    try (Stream<Path> paths = Files.walk(directory)) {
      all = paths.sorted(Comparator.reverseOrder()).toList();
    }
    for (Path path : all) {
      Files.delete(path);
    }
  }
}
