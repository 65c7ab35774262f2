// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import com.sun.jna.LastErrorException;
import com.sun.jna.Native;
import com.sun.jna.NativeLong;
import java.io.IOException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * mount(2) and umount2(2), which containers' managers call themselves: programs for it would be
 * part of what is measured.
 */
final class Mounts {
  /** MS_BIND and MS_REC of linux/mount.h: with all that is mounted below. */
  static final long BIND = 0x1000 | 0x4000;

  /** MS_PRIVATE and MS_REC: mounts there, and their ends, are nobody else's. */
  private static final long PRIVATE = 0x40000 | 0x4000;

  /** MNT_DETACH of umount2(2): it is gone from the tree at once, and ends with its last user. */
  private static final int DETACH = 2;

  private static final int EBUSY = 16;

  static {
    Native.register(Mounts.class, "c");
  }

  private Mounts() {}

  private static native int mount(
      String source, String target, @Nullable String type, NativeLong flags, @Nullable String data)
      throws LastErrorException;

  private static native int umount2(String target, int flags) throws LastErrorException;

  /**
   * Mounts something that shares no mounts with what it is made of: where a host's are shared, as
   * systemd has them, the end of a bind mount would otherwise end what is mounted below its source,
   * too (mount_namespaces(7)).
   */
  static void mount(String type, String source, Path target, long flags, String data)
      throws IOException {
    try {
      mount(source, target.toString(), type, new NativeLong(flags), data);
      mount("none", target.toString(), null, new NativeLong(PRIVATE), null);
    } catch (LastErrorException e) {
      throw new IOException(
          "mounting " + source + " (" + type + ") on " + target + ": " + e.getMessage(), e);
    }
  }

  /** Unmounts what nobody uses; false where somebody does. */
  static boolean unmountUnused(Path target) throws IOException {
    try {
      umount2(target.toString(), 0);
      return true;
    } catch (LastErrorException e) {
      if (e.getErrorCode() == EBUSY) {
        return false;
      }
      throw new IOException("unmounting " + target + ": " + e.getMessage(), e);
    }
  }

  static void unmount(Path target) throws IOException {
    try {
      umount2(target.toString(), DETACH);
    } catch (LastErrorException e) {
      throw new IOException("unmounting " + target + ": " + e.getMessage(), e);
    }
  }
}
