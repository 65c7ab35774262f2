// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.DataSize;
import dev.nacelle.image.ImageRef;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

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

  /** The same with a network that reaches a server of the host's. */
  public Workload withService(InetSocketAddress address) {
    return new Workload(
        image, root, environment, user, workingDirectory, memory, cpus, Optional.of(address));
  }

  /** Whether the image has a program in a directory of PATH. */
  public boolean has(String program) {
    return Stream.of(environment.getOrDefault("PATH", "").split(":", -1))
        .filter(directory -> directory.startsWith("/"))
        .anyMatch(
            directory ->
                Files.exists(
                    root.resolve(directory.substring(1)).resolve(program),
                    LinkOption.NOFOLLOW_LINKS));
  }
}
