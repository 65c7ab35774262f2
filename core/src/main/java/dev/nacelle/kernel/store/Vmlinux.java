// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * What an uncompressed Linux kernel says about itself, once it has been found fit to be loaded.
 *
 * @param version the release, as {@code uname -r} prints it
 * @param build the build, as {@code uname -v} prints it: "#1 SMP ..."
 * @param config the configuration that CONFIG_IKCONFIG embeds, when it is there
 */
record Vmlinux(String version, String build, Optional<String> config) {
  /**
   * Linux's linux_banner (init/version-timestamp.c): release, (builder), (compiler), build. The
   * build is '#' and a number (init/build-version), to which distributions add their own names.
   */
  private static final Pattern BANNER =
      Pattern.compile("Linux version ([0-9]\\S{0,63}) \\(.*?\\) (#[0-9].*)");

  private static final Marker BANNER_START = new Marker("Linux version ");

  /** kernel/configs.c: the marker, and then a gzip member (RFC 1952: ID1, ID2, deflate). */
  private static final Marker CONFIG_START = new Marker("IKCFG_ST\37\213\10");

  private static final int CONFIG_MARKER = "IKCFG_ST".length();

  /** Beyond the memory of any virtual machine: 1 TiB. */
  private static final long MAX_ADDRESS = 1L << 40;

  /**
   * How many of its own and of other programs' mentions of a marker are looked at: a kernel has
   * one, or a few, and a file could be made of nothing else.
   */
  private static final int MAX_MENTIONS = 16;

  private static final int MAX_BANNER = 1024;
  private static final int MAX_PACKED_CONFIG = 1 << 20;
  private static final int CHUNK = 1 << 20;

  /**
   * Checks a kernel that has been unpacked.
   *
   * @param name what to call the kernel in errors: where it came from, rather than the file
   * @throws KernelException when it could not be loaded, or is no Linux
   */
  static Vmlinux inspect(String name, Path file) throws IOException {
    try (FileChannel channel = FileChannel.open(file)) {
      Bytes bytes = Bytes.of(channel);
      requireLoadable(name, bytes);
      return describe(name, bytes);
    }
  }

  /** Checks that the segments can be loaded, as bare physical memory, one after the other. */
  static void requireLoadable(String name, Bytes bytes) throws IOException {
    Elf64 elf = Elf64.read(name, bytes);
    if (elf.type() != Elf64.ET_EXEC && elf.type() != Elf64.ET_DYN) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name
              + " is no kernel: it is an ELF file of type "
              + elf.type()
              + (elf.type() == Elf64.ET_REL ? " (an object file or a module)" : ""),
          null,
          null);
    }
    List<Elf64.Segment> loads =
        elf.segments().stream()
            .filter(s -> s.type() == Elf64.PT_LOAD && s.memorySize() != 0)
            .sorted(Comparator.comparing(Elf64.Segment::address, Long::compareUnsigned))
            .toList();
    if (loads.isEmpty()) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " is no kernel: nothing in it is to be loaded",
          null,
          null);
    }
    boolean entryIsInside = false;
    long end = 0;
    long total = 0;
    for (Elf64.Segment load : loads) {
      String where =
          String.format("the segment of 0x%x bytes at 0x%x", load.memorySize(), load.address());
      if (load.memorySize() < load.fileSize()
          || load.memorySize() > KernelPayload.MAX_UNPACKED - total
          || load.address() < 0
          || load.address() > MAX_ADDRESS - load.memorySize()) {
        throw new KernelException(
            KernelException.Reason.DAMAGED,
            String.format(
                "%s cannot be loaded: %s (0x%x in the file) is absurd",
                name, where, load.fileSize()),
            null,
            null);
      }
      if (load.address() < end) {
        throw new KernelException(
            KernelException.Reason.DAMAGED,
            name + " cannot be loaded: " + where + " overlaps the one before it",
            null,
            null);
      }
      end = load.address() + load.memorySize();
      total += load.memorySize();
      entryIsInside |= contains(load.address(), load, elf.entry());
      entryIsInside |= contains(load.virtualAddress(), load, elf.entry());
    }
    if (!entryIsInside) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          String.format(
              "%s cannot be started: its entry point 0x%x is in no segment", name, elf.entry()),
          null,
          null);
    }
    // Not needed to load it, but a file that ends before them lost its end.
    elf.sections();
  }

  private static boolean contains(long start, Elf64.Segment segment, long address) {
    return Long.compareUnsigned(address - start, segment.memorySize()) < 0;
  }

  private static Vmlinux describe(String name, Bytes bytes) throws IOException {
    Matcher banner = null;
    Optional<String> config = Optional.empty();
    int banners = 0;
    int configs = 0;
    int overlap = BANNER_START.length() - 1;
    for (long offset = 0;
        offset < bytes.size() && (banner == null || config.isEmpty());
        offset += CHUNK) {
      byte[] chunk = bytes.read(offset, (int) Math.min(CHUNK + overlap, bytes.size() - offset));
      for (int i = -1;
          banner == null
              && banners < MAX_MENTIONS
              && (i = BANNER_START.find(chunk, i + 1)) >= 0; ) {
        banners++;
        Matcher matcher = BANNER.matcher(line(bytes, offset + i));
        banner = matcher.matches() ? matcher : null;
      }
      for (int i = -1;
          config.isEmpty()
              && configs < MAX_MENTIONS
              && (i = CONFIG_START.find(chunk, i + 1)) >= 0; ) {
        configs++;
        config = unpackConfig(bytes, offset + i + CONFIG_MARKER);
      }
    }
    if (banner == null) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " is no Linux kernel: no \"Linux version ...\" is in it",
          null,
          null);
    }
    return new Vmlinux(banner.group(1), banner.group(2).strip(), config);
  }

  /**
   * Bytes to look for, by Horspool's algorithm: it looks at one byte in ten of a file, which the
   * Java that has only just started would otherwise take as long for as for its digest.
   */
  private static final class Marker {
    private final byte[] wanted;

    /** By the byte under the marker's end, how far that may move without passing an occurrence. */
    private final int[] steps = new int[256];

    Marker(String text) {
      wanted = text.getBytes(StandardCharsets.ISO_8859_1);
      Arrays.fill(steps, wanted.length);
      for (int i = 0; i < wanted.length - 1; i++) {
        steps[Byte.toUnsignedInt(wanted[i])] = wanted.length - 1 - i;
      }
    }

    int length() {
      return wanted.length;
    }

    /** The first place at or behind {@code from}, or -1. */
    int find(byte[] bytes, int from) {
      int last = wanted.length - 1;
      for (int i = from + last; i < bytes.length; i += steps[Byte.toUnsignedInt(bytes[i])]) {
        if (bytes[i] == wanted[last] && Arrays.equals(bytes, i - last, i, wanted, 0, last)) {
          return i - last;
        }
      }
      return -1;
    }
  }

  /** Printable ASCII up to the end of the line; it goes into errors, logs and file names. */
  private static String line(Bytes bytes, long offset) throws IOException {
    byte[] start = bytes.read(offset, (int) Math.min(MAX_BANNER, bytes.size() - offset));
    int end = 0;
    while (end < start.length && start[end] >= ' ' && start[end] < 0x7f) {
      end++;
    }
    return new String(start, 0, end, StandardCharsets.US_ASCII);
  }

  private static Optional<String> unpackConfig(Bytes bytes, long offset) throws IOException {
    int length = (int) Math.min(MAX_PACKED_CONFIG, bytes.size() - offset);
    byte[] packed = bytes.read(offset, length);
    // The stream ends long before the packed bytes do; what follows must not be taken for a second
    // member.
    try (InputStream in = new GZIPInputStream(new ByteArrayInputStream(packed), packed.length)) {
      byte[] config = in.readNBytes(KernelConfig.MAX_SIZE + 1);
      if (config.length > KernelConfig.MAX_SIZE) {
        return Optional.empty();
      }
      return Optional.of(new String(config, StandardCharsets.UTF_8));
    } catch (ZipException | EOFException e) {
      // A marker that is no configuration: the string also occurs in tools that look for it.
      return Optional.empty();
    }
  }
}
