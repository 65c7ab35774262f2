// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What an image says of how to run it (config.md of the OCI image specification). Absent lists and
 * strings are empty. These are the words of the image's author: untrusted, and only syntactically
 * checked.
 *
 * @param platform what it runs on
 * @param env {@code NAME=VALUE}
 * @param entrypoint what to run, in front of the command
 * @param cmd the command, or the default arguments of the entrypoint
 * @param workingDir where to run it; empty for "/"
 * @param user as whom: {@code user}, {@code uid}, {@code user:group} and so on; empty for root
 * @param stopSignal as {@link dev.nacelle.Signal#parse} takes it; empty for SIGTERM
 * @param labels by key
 * @param exposedPorts {@code PORT[/PROTOCOL]}
 * @param volumes paths that want storage of their own
 */
public record ImageConfig(
    Platform platform,
    List<String> env,
    List<String> entrypoint,
    List<String> cmd,
    String workingDir,
    String user,
    String stopSignal,
    Map<String, String> labels,
    Set<String> exposedPorts,
    Set<String> volumes) {
  /** Makes immutable copies. */
  public ImageConfig {
    env = List.copyOf(env);
    entrypoint = List.copyOf(entrypoint);
    cmd = List.copyOf(cmd);
    labels = Map.copyOf(labels);
    exposedPorts = Set.copyOf(exposedPorts);
    volumes = Set.copyOf(volumes);
  }
}
