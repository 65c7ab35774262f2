// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * All that a program can see of a tree, as text by path, so that two trees can be compared and a
 * difference read. Paths and targets have one char per byte.
 */
public final class TreeListing {
  private static final Pattern OCTAL = Pattern.compile("\\\\([0-7]{3})");

  private final Map<String, Entry> entries;

  private TreeListing(Map<String, Entry> entries) {
    this.entries = entries;
  }

  /**
   * One path.
   *
   * @param mode octal permissions
   * @param size in bytes; 0 for directories, where it is the filesystem's business
   * @param modified seconds with ten decimals
   * @param link target of a symbolic link
   * @param sameAs smallest path that is the same inode
   * @param device major:minor in hexadecimal
   * @param blake2b of the content of a regular file, 256 bits: three times as quick as SHA-256
   * @param xattrs "name=0xhex" lines
   */
  public record Entry(
      String type,
      String mode,
      String uid,
      String gid,
      long size,
      String modified,
      String link,
      String sameAs,
      String device,
      String blake2b,
      String xattrs) {}

  /** All below the directory; its own path is "". */
  public static TreeListing of(Path directory) {
    Map<String, String> hashes = new HashMap<>();
    for (String line :
        nulTerminated(
            Tool.script(directory, "find . -type f -print0 | xargs -0 -r b2sum -l 256 -bz"))) {
      hashes.put(line.substring(66 + 2), line.substring(0, 64));
    }
    Map<String, String> devices = new HashMap<>();
    List<String> stats =
        nulTerminated(
            Tool.script(
                directory, "find . -type b,c -print0 | xargs -0 -r stat --printf='%n\\0%t:%T\\0'"));
    for (int i = 0; i < stats.size(); i += 2) {
      devices.put(stats.get(i).substring(2), stats.get(i + 1));
    }
    Map<String, String> xattrs = xattrs(directory);
    List<String> fields =
        nulTerminated(
            Tool.script(
                directory, "find . -printf '%P\\0%y\\0%m\\0%U\\0%G\\0%s\\0%i\\0%T@\\0%l\\0'"));
    Map<String, String> firstPath = new HashMap<>();
    for (int i = 0; i < fields.size(); i += 9) {
      firstPath.merge(fields.get(i + 6), fields.get(i), (a, b) -> a.compareTo(b) < 0 ? a : b);
    }
    Map<String, Entry> entries = new TreeMap<>();
    for (int i = 0; i < fields.size(); i += 9) {
      String path = fields.get(i);
      String type = fields.get(i + 1);
      entries.put(
          path,
          new Entry(
              type,
              fields.get(i + 2),
              fields.get(i + 3),
              fields.get(i + 4),
              type.equals("d") ? 0 : Long.parseLong(fields.get(i + 5)),
              fields.get(i + 7),
              fields.get(i + 8),
              firstPath.getOrDefault(fields.get(i + 6), ""),
              devices.getOrDefault(path, ""),
              hashes.getOrDefault(path, ""),
              xattrs.getOrDefault(path, "")));
    }
    return new TreeListing(entries);
  }

  /** An AssertionError where there is no such path. */
  public Entry get(String path) {
    Entry entry = entries.get(path);
    if (entry == null) {
      throw new AssertionError("no '" + path + "' in " + entries.keySet());
    }
    return entry;
  }

  public Set<String> paths() {
    return entries.keySet();
  }

  /** The first paths that differ, with how; empty where the trees are the same. */
  public String differences(TreeListing other) {
    Set<String> paths = new TreeSet<>(entries.keySet());
    paths.addAll(other.entries.keySet());
    StringBuilder differences = new StringBuilder();
    for (String path : paths) {
      Entry mine = entries.get(path);
      Entry others = other.entries.get(path);
      if (!Objects.equals(mine, others) && differences.length() < 10_000) {
        differences.append(path + ":\n  " + mine + "\n  " + others + "\n");
      }
    }
    return differences.toString();
  }

  private static Map<String, String> xattrs(Path directory) {
    Map<String, String> xattrs = new HashMap<>();
    String dump = Tool.run(directory, "getfattr", "-RPhd", "-m", "-", "-e", "hex", ".");
    for (String block : dump.split("\n\n", -1)) {
      String[] lines = block.split("\n", 2);
      if (lines[0].startsWith("# file: ")) {
        String path = unescape(lines[0].substring("# file: ".length()));
        xattrs.put(path.equals(".") ? "" : path, lines[1].strip());
      }
    }
    return xattrs;
  }

  private static String unescape(String text) {
    Matcher matcher = OCTAL.matcher(text);
    return matcher.replaceAll(
        m -> Matcher.quoteReplacement(String.valueOf((char) Integer.parseInt(m.group(1), 8))));
  }

  private static List<String> nulTerminated(String output) {
    List<String> parts = new ArrayList<>();
    for (int from = 0, to; (to = output.indexOf('\0', from)) >= 0; from = to + 1) {
      parts.add(output.substring(from, to));
    }
    return parts;
  }

  /** A path of UTF-8 as it is in a listing. */
  public static String path(String path) {
    return new String(path.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1);
  }
}
