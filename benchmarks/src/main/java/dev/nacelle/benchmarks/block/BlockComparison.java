// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.block;

import dev.nacelle.DataSize;
import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.kvm.KvmHypervisorProvider;
import dev.nacelle.kvm.boot.KernelParameters;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Boots one guest in Nacelle and in QEMU's microvm, which then times its own disk past its page
 * cache: 64 MiB in writes and reads of 1 MiB, and 4 KiB read here and there. The image is in the
 * host's page cache for both; QEMU's disk is {@code virtio-blk} over virtio-mmio with {@code
 * aio=io_uring}, in an I/O thread of its own. Needs a KVM that boots kernels, and QEMU.
 */
public final class BlockComparison {
  private static final String QBOOT = "/usr/share/qemu/qboot.rom";
  private static final int MEMORY_MIB = 256;
  private static final long DISK_BYTES = 64 << 20;
  private static final String END = "benchmark: end";
  private static final Pattern RESULT = Pattern.compile("benchmark: ([^:\\r\\n]+): (\\d+)");
  private static final long PATIENCE_SECONDS = 900;

  private final Path kernel;
  private final Path initramfs;
  private final Path image;
  private final Path disk;
  private final Path directory;

  private BlockComparison(Path kernel, Path initramfs, Path image) throws IOException {
    this.kernel = kernel;
    this.initramfs = initramfs;
    this.image = image;
    directory = Files.createTempDirectory("block");
    disk = directory.resolve("disk");
    byte[] mebibyte = new byte[1 << 20];
    try (RandomAccessFile file = new RandomAccessFile(disk.toFile(), "rw")) {
      // All of it is there: a hole would be quicker to read.
      for (long at = 0; at < DISK_BYTES; at += mebibyte.length) {
        Arrays.fill(mebibyte, (byte) (1 + at / mebibyte.length));
        file.write(mebibyte);
      }
    }
  }

  /**
   * @param arguments the cache's directory, vmlinux, an initramfs that measures, the reference of
   *     an image with Python, which is in the cache, and how often each is booted
   */
  public static void main(String... arguments) throws Exception {
    BlockComparison comparison =
        new BlockComparison(
            Path.of(arguments[1]),
            Path.of(arguments[2]),
            new ImageStore(Path.of(arguments[0]).resolve("images"))
                .resolve(ImageRef.parse(arguments[3]))
                .filesystem());
    Map<String, Map<String, Samples>> measured = new LinkedHashMap<>();
    measured.put("nacelle", new LinkedHashMap<>());
    measured.put("qemu", new LinkedHashMap<>());
    try (Hypervisor hypervisor = new KvmHypervisorProvider().open()) {
      for (int round = 0; round < Integer.parseInt(arguments[4]); round++) {
        // Each is first in every other round.
        for (int turn = round; turn < round + 2; turn++) {
          if (turn % 2 == 0) {
            collect(comparison.inNacelle(hypervisor), measured.get("nacelle"));
          } else {
            collect(comparison.inQemu(), measured.get("qemu"));
          }
        }
      }
    }
    print(measured);
  }

  private String inNacelle(Hypervisor hypervisor) throws Exception {
    VmSpec spec =
        VmSpec.builder(
                "bench",
                VmSpec.Linux.builder(kernel).initramfs(initramfs).paravirtualClock(true).build(),
                DataSize.mebibytes(MEMORY_MIB))
            .disks(
                List.of(VmSpec.Disk.of("image", image, true), VmSpec.Disk.of("disk", disk, false)))
            .build();
    try (VirtualMachine machine = hypervisor.create(spec)) {
      machine.start();
      machine.exit().toCompletableFuture().get(PATIENCE_SECONDS, TimeUnit.SECONDS);
      return machine.console().tail();
    }
  }

  private String inQemu() throws IOException, InterruptedException {
    Path console = directory.resolve("console");
    Path errors = directory.resolve("errors");
    Process process =
        new ProcessBuilder(
                "qemu-system-x86_64",
                "-M",
                "microvm,acpi=on,pic=off,pit=off,rtc=on,x-option-roms=off",
                "-bios",
                QBOOT,
                "-accel",
                "kvm",
                "-cpu",
                "host",
                "-smp",
                "1",
                "-m",
                MEMORY_MIB + "M",
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
                "-serial",
                "file:" + console,
                "-global",
                "virtio-mmio.force-legacy=false",
                "-object",
                "iothread,id=io",
                "-drive",
                "if=none,id=image,format=raw,readonly=on,aio=io_uring,file=" + image,
                "-device",
                "virtio-blk-device,drive=image,iothread=io",
                "-drive",
                "if=none,id=disk,format=raw,aio=io_uring,file=" + disk,
                "-device",
                "virtio-blk-device,drive=disk,iothread=io",
                "-kernel",
                kernel.toString(),
                "-initrd",
                initramfs.toString(),
                "-append",
                KernelParameters.of(""))
            .redirectErrorStream(true)
            .redirectOutput(errors.toFile())
            .start();
    try {
      boolean ended = process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS);
      String said = Files.exists(console) ? Files.readString(console) : "";
      return ended ? said + Files.readString(errors) : "QEMU has not ended in time\n" + said;
    } finally {
      process.destroyForcibly();
    }
  }

  private static void collect(String console, Map<String, Samples> samples) {
    if (!console.contains(END)) {
      throw new IllegalStateException("the guest has not measured:\n" + console);
    }
    Matcher results = RESULT.matcher(console);
    while (results.find()) {
      samples
          .computeIfAbsent(results.group(1), name -> new Samples())
          .add(Long.parseLong(results.group(2)));
    }
  }

  private static void print(Map<String, Map<String, Samples>> measured) {
    Table table = new Table("in the guest", "median ms", "min", "90 %", "max", "n");
    TreeSet<String> names = new TreeSet<>();
    measured.values().forEach(of -> names.addAll(of.keySet()));
    try (Results results = new Results("block", "system,what,round,nanos")) {
      for (String name : names) {
        measured.forEach(
            (system, samples) -> {
              Samples values = samples.get(name);
              if (values != null) {
                results.add(system + ",\"" + name + '"', values);
                table.nanos(name + ", " + system, values);
              }
            });
      }
    }
    System.out.print(table);
  }
}
