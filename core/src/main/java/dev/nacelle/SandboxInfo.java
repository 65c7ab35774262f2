// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.KernelRef;
import java.util.Map;

/**
 * What a sandbox is made of. What the guest says of itself is bounded and cleaned, but not
 * verified: that its kernel is the one that was booted is a sign that all went well, and no proof,
 * for whoever controls the guest controls what it says.
 *
 * @param name its name
 * @param labels the caller's own marks
 * @param image what was asked for
 * @param imageDigest what it was found to be: digest of the image's manifest, {@code sha256:...}
 * @param imageConfig what the image says of how to run it: environment, Entrypoint, labels, ports,
 *     volumes and so on; what the specification says instead is in {@link Sandbox#spec()}
 * @param kernel what it booted, pinned to the digest it was found to have; never the default, but
 *     what that was
 * @param bootedRelease the release that the kernel's file has in it: what {@code uname -r} should
 *     print
 * @param bootedVersion the build that the kernel's file has in it: what {@code uname -v} should
 *     print
 * @param kernelRelease as {@code uname -r} in the guest
 * @param kernelVersion as {@code uname -v} in the guest
 * @param machine as {@code uname -m} in the guest
 * @param agentVersion version of the guest agent
 * @param memory what the guest's kernel has, after what it took for itself
 * @param cpus processors that the guest sees
 */
public record SandboxInfo(
    String name,
    Map<String, String> labels,
    ImageRef image,
    String imageDigest,
    ImageConfig imageConfig,
    KernelRef kernel,
    String bootedRelease,
    String bootedVersion,
    String kernelRelease,
    String kernelVersion,
    String machine,
    String agentVersion,
    DataSize memory,
    int cpus) {
  /** Copies the map. */
  public SandboxInfo {
    labels = Map.copyOf(labels);
  }

  /**
   * Whether the kernel that the guest says it runs is the one that was booted, by release and
   * build, asked when the sandbox became ready and before any of the workload ran. A difference is
   * reported here and is no failure: which kernel was booted is known without the guest.
   */
  public boolean runsBootedKernel() {
    return kernelRelease.equals(bootedRelease) && kernelVersion.equals(bootedVersion);
  }
}
