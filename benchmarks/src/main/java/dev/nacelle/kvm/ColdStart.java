// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static java.util.Objects.requireNonNull;

import com.sun.jna.Native;
import dev.nacelle.DataSize;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.io.InputStream;
import java.lang.ProcessBuilder.Redirect;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Times what a program waits for that has just been started: from the start of its process to its
 * main, and to the first KVM_RUN of a machine, or of a sandbox; with several options of Java, by
 * turns. The JDK that runs this is the one that is measured.
 */
public final class ColdStart {
  private static final DataSize MEMORY = DataSize.mebibytes(128);
  private static final List<String> SMALL = List.of("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC");

  private ColdStart() {}

  /**
   * @param arguments how many starts of each count, after one that does not; then vmlinux, its
   *     initramfs, the cache's directory, and the references of the kernel and of an image; and
   *     where archives are made. Or "machine" or "sandbox" and those, for one start.
   */
  public static void main(String... arguments) throws Exception {
    long main = System.nanoTime();
    if (arguments[0].equals("machine") || arguments[0].equals("sandbox")) {
      long run = arguments[0].equals("machine") ? machine(arguments) : sandbox(arguments);
      System.out.println(main + " " + run);
      System.out.flush();
      return;
    }
    compare(arguments);
  }

  private static long machine(String... arguments) {
    VmSpec spec =
        VmSpec.builder(
                "cold",
                VmSpec.Linux.builder(Path.of(arguments[1]))
                    .initramfs(Path.of(arguments[2]))
                    .paravirtualClock(true)
                    .build(),
                MEMORY)
            .build();
    // As the provider does it, which would refuse a KVM that cannot boot kernels.
    try (KvmHypervisor hypervisor = new KvmHypervisor(Kvm.open());
        VirtualMachine machine = hypervisor.create(spec)) {
      machine.start();
      return SetUpTimes.firstRun(machine);
    }
  }

  private static long sandbox(String... arguments) throws InterruptedException {
    return SandboxSetUp.firstRun(
        Path.of(arguments[3]), arguments[4], arguments[5], MemoryPolicy.SPEED, MEMORY);
  }

  private static void compare(String... arguments) throws IOException, InterruptedException {
    int rounds = Integer.parseInt(arguments[0]);
    Path archives = Path.of(arguments[6]);
    Table table = Table.ofMillis("from the start of the process");
    try (Results results = new Results("cold", "what,options,round,nanos")) {
      for (String what : List.of("machine", "sandbox")) {
        Map<String, List<String>> options = options(archives, what, arguments);
        Map<String, Samples> mains = new LinkedHashMap<>();
        Map<String, Samples> runs = new LinkedHashMap<>();
        for (int round = -1; round < rounds; round++) {
          for (Map.Entry<String, List<String>> option : options.entrySet()) {
            List<String> command = command(option.getValue(), what, arguments);
            long started = System.nanoTime();
            Process process = new ProcessBuilder(command).redirectError(Redirect.INHERIT).start();
            String output = new String(process.getInputStream().readAllBytes()).strip();
            if (process.waitFor() != 0 || !output.matches("\\d+ \\d+")) {
              throw new IllegalStateException(command + ": " + output);
            }
            if (round >= 0) {
              String[] times = output.split(" ");
              mains
                  .computeIfAbsent(option.getKey(), k -> new Samples())
                  .add(Long.parseLong(times[0]) - started);
              runs.computeIfAbsent(option.getKey(), k -> new Samples())
                  .add(Long.parseLong(times[1]) - started);
            }
          }
        }
        for (String option : options.keySet()) {
          table.nanos(what + ", " + option + ": main", mains.get(option));
          table.nanos(what + ", " + option + ": first KVM_RUN", runs.get(option));
          results.add(what + ",\"" + option + ": main\"", mains.get(option));
          results.add(what + ",\"" + option + ": first KVM_RUN\"", runs.get(option));
        }
      }
    }
    System.out.print(table);
  }

  private static List<String> command(List<String> options, String what, String... arguments) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(options);
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.addAll(List.of(ColdStart.class.getName(), what));
    command.addAll(List.of(arguments).subList(1, 6));
    return command;
  }

  /** Options by what they are called. Archives are made anew, each by a start of its own. */
  private static Map<String, List<String>> options(Path archives, String what, String... arguments)
      throws IOException, InterruptedException {
    Files.createDirectories(archives);
    Map<String, List<String>> options = new LinkedHashMap<>();
    options.put("no options", List.of());
    options.put("C1 and SerialGC", SMALL);
    make(
            archives.resolve(what + ".jsa"),
            "ArchiveClassesAtExit",
            "SharedArchiveFile",
            what,
            arguments)
        .ifPresent(option -> options.put("and a class archive", with(SMALL, option)));
    if (Runtime.version().feature() >= 25) {
      make(archives.resolve(what + ".aot"), "AOTCacheOutput", "AOTCache", what, arguments)
          .ifPresent(option -> options.put("or an AOT cache", with(SMALL, option)));
    }
    List<String> all = new ArrayList<>(List.copyOf(options.values()).get(options.size() - 1));
    all.addAll(jna(archives));
    options.put("and JNA's library as a file", all);
    return options;
  }

  /** JNA has not to unpack its library then, and does not ask the system for directories. */
  private static List<String> jna(Path archives) throws IOException {
    Path directory = Files.createDirectories(archives.resolve("jna"));
    String library = "libjnidispatch.so";
    try (InputStream in =
        requireNonNull(Native.class.getResourceAsStream("/com/sun/jna/linux-x86-64/" + library))) {
      Files.copy(in, directory.resolve(library), StandardCopyOption.REPLACE_EXISTING);
    }
    return List.of(
        "-Djna.boot.library.path=" + directory, "-Djna.platform.library.path=" + directory);
  }

  /** Makes an archive; the option that uses it. */
  private static Optional<String> make(
      Path archive, String maker, String user, String what, String... arguments)
      throws IOException, InterruptedException {
    Files.deleteIfExists(archive);
    Process process =
        new ProcessBuilder(command(with(SMALL, "-XX:" + maker + "=" + archive), what, arguments))
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes());
    if (process.waitFor() != 0 || !Files.exists(archive)) {
      System.out.println("No archive could be made: " + output);
      return Optional.empty();
    }
    return Optional.of("-XX:" + user + "=" + archive);
  }

  private static List<String> with(List<String> options, String more) {
    List<String> all = new ArrayList<>(options);
    all.add(more);
    return all;
  }
}
