// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.NacelleException;
import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.commons.compress.archivers.ar.ArArchiveEntry;
import org.apache.commons.compress.archivers.ar.ArArchiveInputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.apache.commons.compress.archivers.tar.TarUtils;

/**
 * Reads a Debian package file (deb(5): an ar archive of debian-binary, control.tar and data.tar)
 * and keeps what belongs to its kernel in a {@link KernelArchive}. One pass, because unpacking such
 * a package takes seconds.
 */
final class DebPackage {
  private static final Pattern KERNEL = Pattern.compile("boot/vmlinu[zx]-([^/]{1,64})");
  private static final Pattern CONFIG = Pattern.compile("boot/config-([^/]{1,64})");
  private static final int MAX_CONTROL = 1 << 20;
  private static final int MAX_NAME = 300;

  /**
   * Largest package, and largest content of one member, in bytes: twice Debian's full kernel with
   * its debug symbols.
   */
  static final long MAX_SIZE = 8L << 30;

  private final String name;
  private final KernelArchive.Writer writer;
  private final Map<String, String> control = new HashMap<>();
  private String version = "";

  private DebPackage(String name, KernelArchive.Writer writer) {
    this.name = name;
    this.writer = writer;
  }

  /**
   * Writes the kernel, its configuration and its modules to an archive.
   *
   * @param name what to call the package in errors
   * @param deb the package, which stays open; not always read to its end
   * @throws KernelException when it is no Debian package, or has no kernel for x86-64 in it
   */
  static void extract(String name, InputStream deb, KernelArchive.Writer writer)
      throws IOException {
    try {
      new DebPackage(name, writer).read(new BufferedInputStream(deb, 1 << 16));
    } catch (NacelleException e) {
      throw e;
    } catch (IOException | RuntimeException e) {
      throw Remedies.damaged(
          name, "Check it with dpkg-deb --contents, and fetch it again if it is damaged.", e);
    }
  }

  private void read(InputStream file) throws IOException {
    file.mark(8);
    if (!new String(file.readNBytes(8), StandardCharsets.ISO_8859_1).equals("!<arch>\n")) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " is no Debian package: it does not start with \"!<arch>\"",
          null,
          null);
    }
    file.reset();
    boolean hasData = false;
    try (ArArchiveInputStream ar = new ArArchiveInputStream(unclosed(file))) {
      for (ArArchiveEntry member; (member = ar.getNextEntry()) != null; ) {
        if (member.getName().startsWith("control.tar")) {
          try (Tar tar = new Tar(member, ar)) {
            readControl(tar);
          }
        } else if (member.getName().startsWith("data.tar")) {
          hasData = true;
          try (Tar tar = new Tar(member, ar)) {
            readData(tar);
          }
        }
      }
    }
    if (!hasData) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          name + " is no Debian package: it has no data.tar",
          "Fetch the file again.",
          null);
    }
    if (version.isEmpty()) {
      Matcher kernel =
          Pattern.compile("linux-image-[0-9][^ ,]*").matcher(control.getOrDefault("Depends", ""));
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " has no kernel in it: no /boot/vmlinuz-*",
          kernel.find() ? "It only points to the package " + kernel.group() + ": use that." : null,
          null);
    }
    if (control.containsKey("Package")) {
      writer.putPackageName(
          printable(control.get("Package") + " " + control.getOrDefault("Version", "")));
    }
  }

  private void readControl(Tar tar) throws IOException {
    for (TarArchiveEntry entry; (entry = tar.getNextEntry()) != null; ) {
      if (entry.isFile() && normalize(entry.getName()).equals("control")) {
        String text = new String(tar.readNBytes(MAX_CONTROL), StandardCharsets.UTF_8);
        for (String line : text.lines().toList()) {
          int colon = line.indexOf(':');
          if (colon > 0 && !Character.isWhitespace(line.charAt(0))) {
            control.put(line.substring(0, colon), line.substring(colon + 1).strip());
          }
        }
      }
    }
    String architecture = control.getOrDefault("Architecture", "amd64");
    if (!architecture.equals("amd64")) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " is for " + architecture + ", not for amd64",
          "Use the amd64 package of this kernel.",
          null);
    }
  }

  private void readData(Tar tar) throws IOException {
    for (TarArchiveEntry entry; (entry = tar.getNextEntry()) != null; ) {
      if (entry.isFile()) {
        keep(normalize(entry.getName()), entry.getSize(), tar);
      }
    }
    tar.drain();
  }

  private void keep(String path, long size, InputStream content) throws IOException {
    Matcher kernel = KERNEL.matcher(path);
    Matcher config = CONFIG.matcher(path);
    Matcher module = KernelArchive.MODULE_FILE.matcher(path);
    if (kernel.matches()) {
      if (!version.isEmpty()) {
        throw new KernelException(
            KernelException.Reason.UNSUPPORTED,
            name + " has two kernels in it: " + version + " and " + kernel.group(1),
            null,
            null);
      }
      version = kernel.group(1);
      writer.putKernel(read(path, size, KernelArchive.MAX_FILE, content));
    } else if (config.matches()) {
      writer.putConfig(config.group(1), read(path, size, KernelConfig.MAX_SIZE, content));
    } else if (module.matches()) {
      writer.putModuleFile(
          module.group(1), module.group(2), read(path, size, KernelArchive.MAX_FILE, content));
    }
  }

  private byte[] read(String path, long size, int limit, InputStream content) throws IOException {
    KernelArchive.requireSize(name + ": /" + path, size, limit);
    byte[] bytes = content.readNBytes((int) size);
    if (bytes.length != size) {
      throw new EOFException();
    }
    return bytes;
  }

  private static InputStream unclosed(InputStream in) {
    return new FilterInputStream(in) {
      @Override
      public void close() {}
    };
  }

  /** It goes into reports and lock files. */
  private static String printable(String text) {
    String line = text.strip().replaceAll("[^ -~]", "?");
    return line.substring(0, Math.min(MAX_NAME, line.length()));
  }

  private static String normalize(String name) {
    return name.replaceFirst("^(\\./|/)+", "");
  }

  /** A member's tar archive, whose size and whose extended headers are bounded. */
  private static final class Tar extends TarArchiveInputStream {
    private static final int TYPE_FLAG = 156;
    private static final int SIZE = 124;
    private static final int SIZE_LENGTH = 12;

    /** For a path, which is all that they are used for in packages. */
    private static final int MAX_EXTENDED_HEADER = 64 << 10;

    private final InputStream unpacked;

    /** Closing it leaves the package open. */
    Tar(ArArchiveEntry member, InputStream ar) throws IOException {
      this(
          new BufferedInputStream(
              new BoundedInputStream(
                  Compressed.open(member.getName(), ".tar", unclosed(ar)), MAX_SIZE),
              1 << 16));
    }

    private Tar(InputStream unpacked) {
      super(unpacked);
      this.unpacked = unpacked;
    }

    /** The library holds these headers on the heap, as large as they claim to be. */
    @Override
    protected byte[] readRecord() throws IOException {
      byte[] record = super.readRecord();
      if (record != null
          && "LKxXg".indexOf(record[TYPE_FLAG]) >= 0
          && TarUtils.parseOctalOrBinary(record, SIZE, SIZE_LENGTH) > MAX_EXTENDED_HEADER) {
        throw new IOException("an extended header has more than " + MAX_EXTENDED_HEADER + " bytes");
      }
      return record;
    }

    /** Reads past the archive's end: only there does a decompressor see that nothing is missing. */
    void drain() throws IOException {
      unpacked.transferTo(java.io.OutputStream.nullOutputStream());
    }
  }
}
