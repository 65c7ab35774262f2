// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import dev.nacelle.internal.check.Paths;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A device file, or a FIFO, that a container has beside the usual ones, after "Devices" of the OCI
 * runtime specification (config-linux.md). It may be anywhere in the container. One that is there
 * already and is another fails the start. Immutable.
 */
public final class Device {
  /** MINORBITS of linux/kdev_t.h. */
  private static final int MAX_MINOR = (1 << 20) - 1;

  private static final int MAX_MAJOR = (1 << 12) - 1;

  /** What kind of file it is. */
  public enum Type {
    /** A character device. */
    CHARACTER,
    /** A block device. */
    BLOCK,
    /** A FIFO, which has no numbers. */
    FIFO
  }

  private final Type type;
  private final String path;
  private final int major;
  private final int minor;
  private final int mode;
  private final long uid;
  private final long gid;

  private Device(Type type, String path, int major, int minor, int mode, long uid, long gid) {
    if (major < 0 || major > MAX_MAJOR || minor < 0 || minor > MAX_MINOR) {
      throw new IllegalArgumentException("there is no device " + major + ":" + minor);
    }
    if (mode < 0 || mode > 07777) {
      throw new IllegalArgumentException("not a file's mode: 0" + Integer.toOctalString(mode));
    }
    this.type = type;
    this.path = Paths.absolute("device's path", path);
    this.major = major;
    this.minor = minor;
    this.mode = mode;
    this.uid = Ids.check(uid);
    this.gid = Ids.check(gid);
  }

  /**
   * A character device that everybody may read and write.
   *
   * @throws IllegalArgumentException when the path is not absolute, or there are no such numbers
   */
  public static Device character(String path, int major, int minor) {
    return new Device(Type.CHARACTER, path, major, minor, 0666, 0, 0);
  }

  /** A block device that root may read and write. */
  public static Device block(String path, int major, int minor) {
    return new Device(Type.BLOCK, path, major, minor, 0600, 0, 0);
  }

  /** A FIFO that everybody may read and write. */
  public static Device fifo(String path) {
    return new Device(Type.FIFO, path, 0, 0, 0666, 0, 0);
  }

  /**
   * The same with these permissions.
   *
   * @throws IllegalArgumentException when they are not between 0 and 07777
   */
  public Device withMode(int permissions) {
    return new Device(type, path, major, minor, permissions, uid, gid);
  }

  /**
   * The same with this owner and this group, as the container numbers them.
   *
   * @throws IllegalArgumentException when one is not between 0 and 4294967294
   */
  public Device withOwner(long owner, long group) {
    return new Device(type, path, major, minor, mode, owner, group);
  }

  /** What kind of file it is. */
  public Type type() {
    return type;
  }

  /** Where it is. */
  public String path() {
    return path;
  }

  /** Its major number; 0 for a FIFO. */
  public int major() {
    return major;
  }

  /** Its minor number; 0 for a FIFO. */
  public int minor() {
    return minor;
  }

  /** Its permissions. */
  public int mode() {
    return mode;
  }

  /** Its owner. */
  public long uid() {
    return uid;
  }

  /** Its group. */
  public long gid() {
    return gid;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Device device
        && type == device.type
        && path.equals(device.path)
        && major == device.major
        && minor == device.minor
        && mode == device.mode
        && uid == device.uid
        && gid == device.gid;
  }

  @Override
  public int hashCode() {
    return Objects.hash(type, path, major, minor, mode, uid, gid);
  }

  @Override
  public String toString() {
    return path + " " + type + " " + major + ":" + minor + " 0" + Integer.toOctalString(mode);
  }
}
