// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import dev.nacelle.internal.check.MountOptions;
import dev.nacelle.internal.check.Paths;
import java.util.List;
import java.util.Objects;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A mount in a container, after "Mounts" of the OCI runtime specification (config.md). Immutable.
 *
 * <p>Options are those of mount(8), as the specification lists them: {@code ro}, {@code nosuid},
 * {@code rro}, {@code rprivate} and so on; the later of two counts, and what is not among them is a
 * parameter of the filesystem's own, such as {@code size=64m} or {@code mode=1777}. Paths are the
 * container's. They are resolved below its root, whatever links its image has; where nothing is at
 * the destination, a directory is made, or an empty file to bind a file on.
 *
 * <p>{@code tmpcopyup} fills a tmpfs with what is in the directory that it is mounted on, at the
 * sandbox's start; what has no room there fails that. {@code idmap} and {@code ridmap} come by
 * {@link #withIdMappings}.
 *
 * <p>It needs Linux 5.6 in the sandbox, and 5.12 for options of bind mounts, for propagation and
 * for mappings.
 */
public final class Mount {
  private static final Pattern TYPE = Pattern.compile("[A-Za-z0-9_.]{1,32}");

  private final String type;
  private final String source;
  private final String destination;
  private final List<String> options;
  private final List<IdMapping> uids;
  private final List<IdMapping> gids;

  private Mount(String type, String source, String destination, List<String> options) {
    this(type, source, destination, options, List.of(), List.of());
    if (MountOptions.parse(options).idMap()) {
      throw new IllegalArgumentException(
          "the mount options idmap and ridmap want mappings, with which withIdMappings sets them");
    }
  }

  private Mount(
      String type,
      String source,
      String destination,
      List<String> options,
      List<IdMapping> uids,
      List<IdMapping> gids) {
    this.uids = uids;
    this.gids = gids;
    this.type = type;
    this.source = source;
    this.destination = Paths.absolute("mount's destination", destination);
    this.options = List.copyOf(options);
    if (destination.startsWith("/proc/")) {
      throw new IllegalArgumentException(
          "nothing can be mounted below /proc, of which each PID namespace has its own: "
              + destination);
    }
  }

  /**
   * A new instance of a filesystem that the sandbox's kernel has.
   *
   * @param type as in /proc/filesystems: {@code tmpfs}, {@code mqueue}, {@code cgroup2}
   * @param options of mount(8), and the filesystem's own
   * @throws IllegalArgumentException when the destination is not an absolute path of at most 4095
   *     bytes, is below /proc or has "..", when the type is no name of a filesystem, or when an
   *     option asks for another kind of mount or cannot be had
   */
  public static Mount filesystem(String type, String destination, String... options) {
    return filesystem(type, destination, List.of(options));
  }

  /** As {@link #filesystem(String, String, String...)}. */
  public static Mount filesystem(String type, String destination, List<String> options) {
    return filesystem(type, type, destination, options);
  }

  /** As {@link #filesystem(String, String, String...)}, with the filesystem's own source. */
  public static Mount filesystem(
      String type, String source, String destination, List<String> options) {
    if (!TYPE.matcher(type).matches()) {
      throw new IllegalArgumentException("'" + type + "' is no filesystem's name");
    }
    MountOptions read = MountOptions.parse(options);
    if (read.bind() || read.remount()) {
      throw new IllegalArgumentException("bind and remount are not for a new " + type);
    }
    if (read.copyUp() && (!type.equals("tmpfs") || destination.equals("/dev"))) {
      throw new IllegalArgumentException(
          "tmpcopyup is for a tmpfs, and not on /dev; here it is a " + type + " on " + destination);
    }
    return new Mount(type, Paths.text("mount's source", source), destination, options);
  }

  /** An empty filesystem in the sandbox's memory, of at most that many bytes. */
  public static Mount tmpfs(String destination, long bytes) {
    if (bytes < 1) {
      throw new IllegalArgumentException("a tmpfs has at least 1 byte, not " + bytes);
    }
    return filesystem("tmpfs", destination, "nosuid", "nodev", "size=" + bytes);
  }

  /**
   * What is at one path of the container's, at another one as well.
   *
   * @param options of mount(8); {@code rbind} shows what is mounted below it, too
   * @throws IllegalArgumentException when a path is not absolute, or an option is a filesystem's
   */
  public static Mount bind(String source, String destination, String... options) {
    return bind(source, destination, List.of(options));
  }

  /** As {@link #bind(String, String, String...)}. */
  public static Mount bind(String source, String destination, List<String> options) {
    List<String> all = options;
    if (!MountOptions.parse(all).bind()) {
      all = concat("bind", all);
    }
    MountOptions read = MountOptions.parse(all);
    if (read.remount() || read.isForNewFilesystem() || !read.parameters().isEmpty()) {
      throw new IllegalArgumentException(
          "a bind mount has no options of a filesystem's: " + String.join(", ", options));
    }
    return new Mount("none", Paths.absolute("mount's source", source), destination, all);
  }

  /**
   * Other options for what is mounted at the destination when its turn comes; the filesystem's own
   * hold wherever it is mounted.
   *
   * @throws IllegalArgumentException when the destination is none, or an option is for a new mount
   *     alone
   */
  public static Mount remount(String destination, String... options) {
    return remount(destination, List.of(options));
  }

  /** As {@link #remount(String, String...)}. */
  public static Mount remount(String destination, List<String> options) {
    List<String> all = concat("remount", options);
    MountOptions read = MountOptions.parse(all);
    if (read.bind() || read.isForNewFilesystem()) {
      throw new IllegalArgumentException(
          "what is mounted cannot be changed so: " + String.join(", ", options));
    }
    return new Mount("none", "", destination, all);
  }

  /**
   * The same with owners of files numbered anew: "uidMappings" and "gidMappings" of the
   * specification, mount_setattr(2). A file of the filesystem's user 7 belongs to user 1007 by a
   * mount with {@code new IdMapping(0, 1000, 100)}, and what user 1007 makes there belongs to the
   * filesystem's user 7.
   *
   * @param uids how users are numbered: {@code containerId} in the filesystem, {@code hostId} in
   *     the machine; what has no mapping belongs to nobody
   * @param gids the same of groups
   * @param recursive whether that holds for what a recursive bind mount shows below as well
   * @throws IllegalArgumentException when either has no mapping or more than 340, or this mount is
   *     no new one
   */
  public Mount withIdMappings(List<IdMapping> uids, List<IdMapping> gids, boolean recursive) {
    if (MountOptions.parse(options).remount()) {
      throw new IllegalArgumentException(
          "what is mounted on " + destination + " cannot be given mappings any more");
    }
    Stream<String> others =
        options.stream().filter(option -> !option.equals("idmap") && !option.equals("ridmap"));
    return new Mount(
        type,
        source,
        destination,
        Stream.concat(others, Stream.of(recursive ? "ridmap" : "idmap")).toList(),
        UserNamespace.checked("users", uids),
        UserNamespace.checked("groups", gids));
  }

  private static List<String> concat(String first, List<String> rest) {
    return Stream.concat(Stream.of(first), rest.stream()).toList();
  }

  /** Type of the filesystem; {@code none} where none is new. */
  public String type() {
    return type;
  }

  /** What is bound, or what the filesystem takes for its source. */
  public String source() {
    return source;
  }

  /** Where it is mounted. */
  public String destination() {
    return destination;
  }

  /** How users are numbered; empty for as the filesystem has them. */
  public List<IdMapping> uidMappings() {
    return uids;
  }

  /** How groups are numbered; empty for as the filesystem has them. */
  public List<IdMapping> gidMappings() {
    return gids;
  }

  /**
   * As they were given; {@code bind} and {@code remount} among them for such mounts, and {@code
   * idmap} or {@code ridmap} where there are mappings.
   */
  public List<String> options() {
    return options;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Mount mount
        && type.equals(mount.type)
        && source.equals(mount.source)
        && destination.equals(mount.destination)
        && options.equals(mount.options)
        && uids.equals(mount.uids)
        && gids.equals(mount.gids);
  }

  @Override
  public int hashCode() {
    return Objects.hash(type, source, destination, options, uids, gids);
  }

  @Override
  public String toString() {
    return type + " " + source + " on " + destination + " " + options;
  }
}
