// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.image;

import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.image.ImageRef;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * From a registry to a filesystem that boots: an ImageStore, against skopeo, umoci and mke2fs one
 * after the other, by turns. Takes root, for umoci gives files their owners.
 *
 * <p>The store forces the filesystem to the disk and checks the digest of each unpacked layer; the
 * others do neither the one nor, mke2fs and skopeo, the other.
 */
public final class ImageComparison {
  private static final String FILESYSTEM = "image.ext4";

  private ImageComparison() {}

  /**
   * @param arguments the image's reference as Nacelle and as skopeo has it, a directory for what is
   *     made, and how many rounds count, after one that does not
   */
  public static void main(String... arguments) throws IOException, InterruptedException {
    Path work = Path.of(arguments[2]).toAbsolutePath();
    int rounds = Integer.parseInt(arguments[3]);
    ImageRef ref = ImageRef.parse(arguments[0]);
    Samples store = new Samples();
    Samples again = new Samples();
    Samples fresh = new Samples();
    Samples skopeo = new Samples();
    Samples umoci = new Samples();
    Samples mke2fs = new Samples();
    Samples all = new Samples();
    for (int round = -1; round < rounds; round++) {
      boolean counts = round >= 0;
      Path directory = Files.createTempDirectory(Files.createDirectories(work), "round");
      long began = System.nanoTime();
      MakeImage.store(directory.resolve("store")).resolve(ref);
      add(store, counts, System.nanoTime() - began);

      began = System.nanoTime();
      MakeImage.store(directory.resolve("store")).resolve(ref);
      add(again, counts, System.nanoTime() - began);
      run(directory, "rm", "-r", "store");

      String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
      String classPath = System.getProperty("java.class.path");
      began = System.nanoTime();
      run(
          Path.of(""),
          List.of(
              java,
              "-Dnacelle.registry=" + System.getProperty("nacelle.registry", "-"),
              "-cp",
              classPath,
              MakeImage.class.getName(),
              directory.resolve("store").toString(),
              arguments[0]));
      add(fresh, counts, System.nanoTime() - began);
      run(directory, "rm", "-r", "store");

      began = System.nanoTime();
      run(
          directory,
          "skopeo",
          "copy",
          "--quiet",
          "--src-tls-verify=false",
          arguments[1],
          "oci:layout:x");
      long copied = System.nanoTime();
      run(directory, "umoci", "unpack", "--image", "layout:x", "bundle");
      long unpacked = System.nanoTime();
      run(
          directory,
          List.of(
              "mke2fs",
              "-q",
              "-t",
              "ext4",
              "-O",
              "^has_journal",
              "-d",
              "bundle/rootfs",
              FILESYSTEM,
              "4G"));
      long made = System.nanoTime();
      add(skopeo, counts, copied - began);
      add(umoci, counts, unpacked - copied);
      add(mke2fs, counts, made - unpacked);
      add(all, counts, made - began);
      run(work, "rm", "-r", directory.toString());
    }
    try (Results results = new Results("image", "what,round,nanos")) {
      results.add("store", store);
      results.add("store again", again);
      results.add("store in a new JVM", fresh);
      results.add("skopeo copy", skopeo);
      results.add("umoci unpack", umoci);
      results.add("mke2fs -d", mke2fs);
      results.add("all three", all);
    }
    System.out.print(
        Table.ofMillis(arguments[0])
            .nanos("ImageStore", store)
            .nanos("ImageStore, in a JVM that starts for it", fresh)
            .nanos("ImageStore, the second time", again)
            .nanos("skopeo copy", skopeo)
            .nanos("umoci unpack", umoci)
            .nanos("mke2fs -d", mke2fs)
            .nanos("skopeo, umoci and mke2fs", all));
  }

  private static void add(Samples samples, boolean counts, long nanos) {
    if (counts) {
      samples.add(nanos);
    }
  }

  private static void run(Path directory, String... command)
      throws IOException, InterruptedException {
    run(directory, List.of(command));
  }

  private static void run(Path directory, List<String> command)
      throws IOException, InterruptedException {
    File output = File.createTempFile("image-comparison", ".log");
    try {
      int exit =
          new ProcessBuilder(command)
              .directory(directory.toString().isEmpty() ? null : directory.toFile())
              .redirectErrorStream(true)
              .redirectOutput(output)
              .start()
              .waitFor();
      if (exit != 0) {
        throw new IOException(
            "exit code " + exit + " of " + command + "\n" + Files.readString(output.toPath()));
      }
    } finally {
      Files.delete(output.toPath());
    }
  }
}
