// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** A virtual machine monitor that is a program. Immutable. */
public interface Monitor {
  /** A short name in lower case. */
  String name();

  /** The program. */
  Path program();

  /** What a guest's kernel needs for its machines, in the order of loading. */
  List<GuestDriver> drivers();

  /**
   * Whether its machines' sockets are the host kernel's (AF_VSOCK, by vhost), rather than its own
   * behind Unix sockets, as Firecracker's documentation of vsock has them.
   */
  boolean vhostVsock();

  /** Whether a guest that powers its machine off ends it; else it has to be ended from outside. */
  default boolean powersOff() {
    return true;
  }

  /** How its guests find a disk. */
  GuestDisk guestDisk(VmSpec.Disk disk) throws IOException;

  /**
   * The command that runs a machine until its guest ends. Its stdout is the guest's serial port.
   *
   * @param guest what the machine boots
   * @param cid the guest's context identifier
   * @param directory the machine's own, for what the monitor needs in files; its socket is {@code
   *     vsock} there
   * @throws IOException when such a file cannot be written
   */
  List<String> command(VmSpec spec, VmSpec.Linux guest, int cid, Path directory) throws IOException;
}
