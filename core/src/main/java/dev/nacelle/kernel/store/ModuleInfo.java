// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import com.google.common.base.Splitter;
import dev.nacelle.KernelException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What a kernel module says of itself in its {@code .modinfo} section, a sequence of NUL-terminated
 * {@code tag=value} (the kernel's include/linux/module.h, MODULE_INFO; modpost writes depends and
 * vermagic).
 */
final class ModuleInfo {
  private static final int MAX_MODINFO = 4 << 20;

  private static final Splitter ENTRIES = Splitter.on('\0').omitEmptyStrings();
  private static final Splitter NAMES = Splitter.on(',').trimResults().omitEmptyStrings();
  private static final Splitter WORDS = Splitter.on(' ').omitEmptyStrings();

  private final String where;
  private final Map<String, List<String>> values;

  private ModuleInfo(String where, Map<String, List<String>> values) {
    this.where = where;
    this.values = values;
  }

  /**
   * Reads an uncompressed module.
   *
   * @param where what to call it in errors
   * @throws KernelException when it is no module for x86-64
   */
  static ModuleInfo read(String where, byte[] module) throws IOException {
    Bytes bytes = Bytes.of(module);
    Elf64 elf = Elf64.read(where, bytes);
    if (elf.type() != Elf64.ET_REL) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          where + " is no kernel module: ELF type " + elf.type() + " instead of relocatable",
          null,
          null);
    }
    Elf64.Section section =
        elf.sections().stream()
            .filter(candidate -> candidate.name().equals(".modinfo"))
            .findFirst()
            .orElseThrow(
                () ->
                    new KernelException(
                        KernelException.Reason.DAMAGED,
                        where + " is no kernel module: it has no .modinfo",
                        null,
                        null));
    if (section.size() > MAX_MODINFO) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          where + ": a .modinfo of " + section.size() + " bytes is not believable",
          null,
          null);
    }
    byte[] text = bytes.read(section.offset(), (int) section.size());
    Map<String, List<String>> values = new HashMap<>();
    for (String entry : ENTRIES.split(new String(text, StandardCharsets.ISO_8859_1))) {
      int equals = entry.indexOf('=');
      if (equals > 0) {
        values
            .computeIfAbsent(entry.substring(0, equals), tag -> new ArrayList<>())
            .add(entry.substring(equals + 1));
      }
    }
    return new ModuleInfo(where, values);
  }

  /** Names of the modules that must be loaded before, in canonical form. */
  List<String> dependencies() {
    return all("depends").stream()
        .flatMap(NAMES::splitToStream)
        .map(ModuleInfo::canonical)
        .toList();
  }

  /** What should be loaded before, where it exists: modprobe.d(5), softdep. */
  List<String> softDependencies() {
    List<String> names = new ArrayList<>();
    for (String softdep : all("softdep")) {
      boolean before = false;
      for (String word : WORDS.split(softdep)) {
        if (word.endsWith(":")) {
          before = word.equals("pre:");
        } else if (before) {
          names.add(canonical(word));
        }
      }
    }
    return names;
  }

  /**
   * Refuses a module of another kernel, as the kernel itself would (kernel/module/version.c).
   *
   * @param version the kernel's release
   */
  void requireVersion(String version) {
    if (all("vermagic").isEmpty()) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          where + " does not say which kernel it is for: it has no vermagic",
          "Use the package that the kernel came from.",
          null);
    }
    for (String magic : all("vermagic")) {
      int space = magic.indexOf(' ');
      String found = space < 0 ? magic : magic.substring(0, space);
      if (!found.equals(version)) {
        throw new KernelException(
            KernelException.Reason.DAMAGED,
            where + " was built for kernel " + found + ", not for " + version,
            "Use the package that the kernel came from.",
            null);
      }
    }
  }

  private List<String> all(String tag) {
    return values.getOrDefault(tag, List.of());
  }

  /** A module's name as the kernel has it: in file names, '-' and '_' are the same. */
  static String canonical(String name) {
    return name.replace('-', '_');
  }
}
