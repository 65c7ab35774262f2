// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.internal.Zstd;
import java.io.BufferedOutputStream;
import java.io.ByteArrayInputStream;
import java.io.Closeable;
import java.io.FileNotFoundException;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.Enumeration;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/**
 * A kernel package as Nacelle keeps it: a zip file, which unlike the package gives any module
 * without unpacking the others. Holds {@code kernel} (a bzImage or vmlinux), {@code
 * config/VERSION}, {@code package} (its name and version) and {@code modules/VERSION/...} as in the
 * package's /lib/modules. Modules that the package has compressed stay so; the others are packed
 * with Zstandard.
 */
final class KernelArchive implements Closeable {
  private static final String KERNEL = "kernel";
  private static final String CONFIG = "config/";
  private static final String PACKAGE = "package";
  private static final String MODULES = "modules/";
  private static final int MAX_MODULE = 256 << 20;

  /** Paths of what is kept of a package's modules: the release, and the path below it. */
  static final Pattern MODULE_FILE =
      Pattern.compile(
          "(?:usr/)?lib/modules/([^/]{1,64})/(modules\\.builtin|.{1,400}\\.ko(?:\\.[a-z0-9]{1,5})?)");

  /** Largest file that is kept, in bytes. */
  static final int MAX_FILE = 256 << 20;

  /** Files that are kept, of which the heap holds a list; distributions' kernels have 5,000. */
  static final int MAX_FILES = 100_000;

  /**
   * Names become paths in the guest and words in lists; the kernel's own have no other characters.
   */
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_]{1,64}");

  private final String name;
  private final ZipFile zip;

  /** Opens an archive; {@code name} is what to call the package in errors. */
  KernelArchive(String name, Path file) throws IOException {
    this.name = name;
    this.zip = new ZipFile(file.toFile());
  }

  /** The kernel as the package has it. */
  byte[] kernel() throws IOException {
    return read(KERNEL);
  }

  /** The configuration of that version, when the package has it. */
  Optional<String> config(String version) throws IOException {
    String entry = CONFIG + version;
    return zip.getEntry(entry) == null
        ? Optional.empty()
        : Optional.of(new String(read(entry), StandardCharsets.UTF_8));
  }

  /** Name and version of the package, when it says them. */
  Optional<String> packageName() throws IOException {
    return zip.getEntry(PACKAGE) == null
        ? Optional.empty()
        : Optional.of(new String(read(PACKAGE), StandardCharsets.UTF_8));
  }

  /** The releases that the package has modules, or a list of what is built in, for. */
  Set<String> moduleVersions() {
    Set<String> versions = new TreeSet<>();
    zip.stream()
        .map(ZipEntry::getName)
        .filter(name -> name.startsWith(MODULES))
        .map(name -> name.substring(MODULES.length(), name.indexOf('/', MODULES.length())))
        .forEach(versions::add);
    return versions;
  }

  /** Canonical names of what modules.builtin lists: code that could be a module and is built in. */
  Set<String> builtIn(String version) throws IOException {
    String entry = MODULES + version + "/modules.builtin";
    Set<String> names = new HashSet<>();
    if (zip.getEntry(entry) != null) {
      new String(read(entry), StandardCharsets.UTF_8)
          .lines()
          .filter(line -> line.endsWith(".ko"))
          .forEach(line -> names.add(moduleName(line)));
    }
    return names;
  }

  /** The package's module files by canonical name; where two have the same, depmod's choice. */
  Map<String, String> modules(String version) {
    Map<String, String> files = new TreeMap<>();
    String prefix = MODULES + version + "/";
    for (Enumeration<? extends ZipEntry> e = zip.entries(); e.hasMoreElements(); ) {
      String entry = e.nextElement().getName();
      if (entry.startsWith(prefix)
          && !entry.endsWith("/modules.builtin")
          && NAME.matcher(moduleName(entry)).matches()) {
        // depmod.d(5): without configuration, updates/ is searched before the rest.
        files.merge(
            moduleName(entry),
            entry,
            (a, b) ->
                a.startsWith(prefix + "updates/") ? a : b.startsWith(prefix + "updates/") ? b : a);
      }
    }
    return files;
  }

  /** A module, uncompressed; {@code file} is a value of {@link #modules}. */
  byte[] module(String file) throws IOException {
    if (!file.endsWith(".ko")) {
      return Compressed.readAll(name + ": " + file, ".ko", read(file), MAX_MODULE);
    }
    try (InputStream in = Zstd.open(new ByteArrayInputStream(read(file)))) {
      return in.readAllBytes();
    }
  }

  /**
   * Refuses a file that is too large to be kept, before it is read.
   *
   * @param file what to call it in errors
   */
  static void requireSize(String file, long size, int limit) {
    if (size > limit) {
      throw new KernelException(
          KernelException.Reason.TOO_LARGE,
          file + " has " + size + " bytes; at most " + limit + " are taken",
          null,
          null);
    }
  }

  private static String moduleName(String path) {
    String file = path.substring(path.lastIndexOf('/') + 1);
    return ModuleInfo.canonical(file.substring(0, file.lastIndexOf(".ko")));
  }

  private byte[] read(String entryName) throws IOException {
    ZipEntry entry = zip.getEntry(entryName);
    if (entry == null) {
      throw new FileNotFoundException(entryName + " in " + zip.getName());
    }
    try (InputStream in = zip.getInputStream(entry)) {
      return in.readAllBytes();
    }
  }

  @Override
  public void close() throws IOException {
    zip.close();
  }

  /** Tells a disk that is full from content that is damaged, for who unpacks one to the other. */
  private static final class OnDisk extends FilterOutputStream {
    OnDisk(OutputStream file) {
      super(file);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      try {
        out.write(bytes, offset, length);
      } catch (IOException e) {
        throw new KernelException(
            KernelException.Reason.HOST_DISK,
            "What is unpacked of a kernel's package cannot be written: " + e.getMessage(),
            "Make space in the cache directory (pruning makes some).",
            e);
      }
    }
  }

  /** Writes an archive, the same bytes for the same content. */
  static final class Writer implements Closeable {
    /** The first instant that a zip file can express, so that it needs no extra field. */
    private static final LocalDateTime EPOCH = LocalDateTime.of(1980, 1, 1, 0, 0);

    private final ZipOutputStream zip;
    private int files;

    Writer(OutputStream out) {
      zip = new ZipOutputStream(new BufferedOutputStream(new OnDisk(out), 1 << 16));
      zip.setLevel(Deflater.BEST_SPEED);
    }

    void putKernel(byte[] content) throws IOException {
      put(KERNEL, content, false);
    }

    void putConfig(String version, byte[] content) throws IOException {
      put(CONFIG + version, content, true);
    }

    void putPackageName(String name) throws IOException {
      put(PACKAGE, name.getBytes(StandardCharsets.UTF_8), true);
    }

    /** Adds modules.builtin, or a module. */
    void putModuleFile(String version, String path, byte[] content) throws IOException {
      String entry = MODULES + version + "/" + path;
      if (path.endsWith(".ko")) {
        // To deflate them would take half as long as it took to unpack the package.
        put(entry, Zstd.pack(content), false);
      } else {
        put(entry, content, path.endsWith(".builtin"));
      }
    }

    private void put(String name, byte[] content, boolean compress) throws IOException {
      if (++files > MAX_FILES) {
        throw new KernelException(
            KernelException.Reason.TOO_LARGE,
            "A kernel's package has more than " + MAX_FILES + " modules",
            null,
            null);
      }
      ZipEntry entry = new ZipEntry(name);
      entry.setTimeLocal(EPOCH);
      if (!compress) {
        CRC32 crc = new CRC32();
        crc.update(content);
        entry.setMethod(ZipEntry.STORED);
        entry.setSize(content.length);
        entry.setCrc(crc.getValue());
      }
      zip.putNextEntry(entry);
      zip.write(content);
      zip.closeEntry();
    }

    @Override
    public void close() throws IOException {
      zip.close();
    }
  }
}
