// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.check;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Options of mount(8) as the OCI runtime specification has them ("Linux mount options" of
 * config.md), told apart: the mount's own attributes, its propagation, and the filesystem's
 * parameters.
 *
 * @param attributes of the mount itself
 * @param recursive of the mount and those below it
 * @param propagation "shared", "slave", "private", "unbindable", or "" to leave it
 * @param recursivePropagation the same for the mount and those below it
 * @param bind whether it is a view of what is elsewhere
 * @param recursiveBind whether that shows what is mounted below, too
 * @param remount whether it changes what is mounted
 * @param iVersion whether a new filesystem counts the changes of its files
 * @param copyUp whether a tmpfs is filled with what is there
 * @param idMap whether owners are numbered anew
 * @param recursiveIdMap the same for the mount and those below it
 * @param parameters "key" or "key=value" each, for the filesystem
 */
public record MountOptions(
    Attributes attributes,
    Attributes recursive,
    String propagation,
    String recursivePropagation,
    boolean bind,
    boolean recursiveBind,
    boolean remount,
    boolean iVersion,
    boolean copyUp,
    boolean idMap,
    boolean recursiveIdMap,
    List<String> parameters) {
  private static final int MAX_PARAMETERS = 64;

  /** MOUNT_ATTR_* of linux/mount.h. */
  private static final long RDONLY = 0x1;

  private static final long NOSUID = 0x2;
  private static final long NODEV = 0x4;
  private static final long NOEXEC = 0x8;
  private static final long ATIME = 0x70; // the three kinds: relatime is 0
  private static final long NOATIME = 0x10;
  private static final long STRICTATIME = 0x20;
  private static final long NODIRATIME = 0x80;
  private static final long NOSYMFOLLOW = 0x20_0000;

  private static final Map<String, Attributes> ATTRIBUTES =
      Map.ofEntries(
          Map.entry("ro", new Attributes(RDONLY, 0)),
          Map.entry("rw", new Attributes(0, RDONLY)),
          Map.entry("nosuid", new Attributes(NOSUID, 0)),
          Map.entry("suid", new Attributes(0, NOSUID)),
          Map.entry("nodev", new Attributes(NODEV, 0)),
          Map.entry("dev", new Attributes(0, NODEV)),
          Map.entry("noexec", new Attributes(NOEXEC, 0)),
          Map.entry("exec", new Attributes(0, NOEXEC)),
          Map.entry("noatime", new Attributes(NOATIME, ATIME)),
          Map.entry("atime", new Attributes(0, ATIME)),
          Map.entry("relatime", new Attributes(0, ATIME)),
          Map.entry("norelatime", new Attributes(0, ATIME)),
          Map.entry("strictatime", new Attributes(STRICTATIME, ATIME)),
          Map.entry("nostrictatime", new Attributes(0, ATIME)),
          Map.entry("nodiratime", new Attributes(NODIRATIME, 0)),
          Map.entry("diratime", new Attributes(0, NODIRATIME)),
          Map.entry("nosymfollow", new Attributes(NOSYMFOLLOW, 0)),
          Map.entry("symfollow", new Attributes(0, NOSYMFOLLOW)));

  private static final Set<String> PROPAGATIONS =
      Set.of("shared", "slave", "private", "unbindable");

  /** What is so anyway, or says what mount(8) prints. */
  private static final Set<String> NOTHING = Set.of("defaults", "silent", "loud");

  /**
   * What mount_setattr(2) is given.
   *
   * @param set MOUNT_ATTR_* to set
   * @param clear those to clear, before some are set
   */
  public record Attributes(long set, long clear) {
    /** Leaves everything. */
    public static final Attributes NONE = new Attributes(0, 0);

    Attributes then(Attributes later) {
      return new Attributes((set & ~later.clear) | later.set, clear | later.clear);
    }
  }

  /**
   * Reads options; the later of two counts.
   *
   * @throws IllegalArgumentException when one is empty; and when the parameters are more than 64,
   *     or one has more than 4095 bytes or a NUL
   */
  public static MountOptions parse(List<String> options) {
    Attributes attributes = Attributes.NONE;
    Attributes recursive = Attributes.NONE;
    String propagation = "";
    String recursivePropagation = "";
    boolean bind = false;
    boolean recursiveBind = false;
    boolean remount = false;
    boolean iVersion = false;
    boolean copyUp = false;
    boolean idMap = false;
    boolean recursiveIdMap = false;
    List<String> parameters = new ArrayList<>();
    for (String option : options) {
      String rest = option.startsWith("r") ? option.substring(1) : "";
      if (ATTRIBUTES.containsKey(option)) {
        attributes = attributes.then(ATTRIBUTES.get(option));
      } else if (ATTRIBUTES.containsKey(rest)) {
        recursive = recursive.then(ATTRIBUTES.get(rest));
      } else if (PROPAGATIONS.contains(option)) {
        propagation = option;
      } else if (PROPAGATIONS.contains(rest)) {
        recursivePropagation = rest;
      } else if (option.equals("bind") || option.equals("rbind")) {
        bind = true;
        recursiveBind = option.equals("rbind");
      } else if (option.equals("remount")) {
        remount = true;
      } else if (option.equals("iversion") || option.equals("noiversion")) {
        iVersion = option.equals("iversion");
      } else if (option.equals("tmpcopyup")) {
        copyUp = true;
      } else if (option.equals("idmap") || option.equals("ridmap")) {
        idMap = true;
        recursiveIdMap = option.equals("ridmap");
      } else if (!NOTHING.contains(option)) {
        if (option.isEmpty()) {
          throw new IllegalArgumentException("a mount option is empty");
        }
        parameters.add(Paths.text("mount option", option));
      }
    }
    if (parameters.size() > MAX_PARAMETERS) {
      throw new IllegalArgumentException(
          parameters.size() + " parameters of a filesystem are more than " + MAX_PARAMETERS);
    }
    return new MountOptions(
        attributes,
        recursive,
        propagation,
        recursivePropagation,
        bind,
        recursiveBind,
        remount,
        iVersion,
        copyUp,
        idMap,
        recursiveIdMap,
        List.copyOf(parameters));
  }

  /** Whether a mount that is there is to let device files be opened. */
  public boolean opensDevices() {
    return (bind || remount)
        && ((attributes.clear & ~attributes.set | recursive.clear & ~recursive.set) & NODEV) != 0;
  }

  /** Whether it has what only a new filesystem can have. */
  public boolean isForNewFilesystem() {
    return iVersion || copyUp;
  }
}
