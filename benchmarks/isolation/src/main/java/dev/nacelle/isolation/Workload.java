// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.DataSize;
import dev.nacelle.image.ImageRef;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/**
 * An image, and how it is run: the same for every isolation.
 *
 * @param image what Nacelle resolves, pinned to a digest
 * @param root the same image unpacked: a directory of the host that is not to be written to
 * @param environment of each command, the image's included
 * @param user as in an image's configuration, "UID[:GID]" or names; "0:0" for root
 * @param workingDirectory absolute
 * @param memory of each instance
 * @param cpus of each instance
 * @param service where a server of the host's waits that commands may connect to; empty for none
 */
public record Workload(
    ImageRef image,
    Path root,
    Map<String, String> environment,
    String user,
    String workingDirectory,
    DataSize memory,
    int cpus,
    Optional<InetSocketAddress> service) {
  /** Copies the environment. */
  public Workload {
    environment = Map.copyOf(environment);
  }
}
