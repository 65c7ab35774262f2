// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.kernel.KernelRef;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What a sandbox is made of. What the guest says of itself is bounded and cleaned, but not
 * verified: that its kernel is the one that was booted is a sign that all went well, and no proof,
 * for whoever controls the guest controls what it says. Immutable.
 */
public final class SandboxInfo {
  private final String name;
  private final ImageRef image;
  private final Digest imageDigest;
  private final KernelRef kernel;
  private final Map<String, String> labels;
  private final ImageConfig imageConfig;
  private final String bootedRelease;
  private final String bootedVersion;
  private final String kernelRelease;
  private final String kernelVersion;
  private final String machine;
  private final String agentVersion;
  private final DataSize memory;
  private final int cpus;

  private SandboxInfo(Builder builder) {
    name = builder.name;
    image = builder.image;
    imageDigest = builder.imageDigest;
    kernel = builder.kernel;
    labels = builder.labels;
    imageConfig = builder.imageConfig;
    bootedRelease = builder.bootedRelease;
    bootedVersion = builder.bootedVersion;
    kernelRelease = builder.kernelRelease;
    kernelVersion = builder.kernelVersion;
    machine = builder.machine;
    agentVersion = builder.agentVersion;
    memory = builder.memory;
    cpus = builder.cpus;
  }

  /**
   * One of which no more than this is known, with one vCPU. The parameters are as the getters of
   * the same names.
   */
  public static Builder builder(String name, ImageRef image, Digest imageDigest, KernelRef kernel) {
    return new Builder(name, image, imageDigest, kernel);
  }

  /** Its name. */
  public String name() {
    return name;
  }

  /** The caller's own marks. */
  public Map<String, String> labels() {
    return labels;
  }

  /** The image that was asked for. */
  public ImageRef image() {
    return image;
  }

  /** What that was found to be: the digest of the image's manifest. */
  public Digest imageDigest() {
    return imageDigest;
  }

  /**
   * What the image says of how to run it: environment, Entrypoint, labels, ports, volumes and so
   * on; what the specification says instead is in {@link Sandbox#spec()}.
   */
  public ImageConfig imageConfig() {
    return imageConfig;
  }

  /**
   * The kernel that was booted, pinned to the digest it was found to have; never the default, but
   * what that was.
   */
  public KernelRef kernel() {
    return kernel;
  }

  /** The release that the kernel's file has in it: what {@code uname -r} should print. */
  public String bootedRelease() {
    return bootedRelease;
  }

  /** The version that the kernel's file has in it: what {@code uname -v} should print. */
  public String bootedVersion() {
    return bootedVersion;
  }

  /** The release that the guest says its kernel has, as {@code uname -r} prints it. */
  public String kernelRelease() {
    return kernelRelease;
  }

  /** The version that the guest says its kernel has, as {@code uname -v} prints it. */
  public String kernelVersion() {
    return kernelVersion;
  }

  /** As {@code uname -m} prints it in the guest. */
  public String machine() {
    return machine;
  }

  /** The version of the guest agent. */
  public String agentVersion() {
    return agentVersion;
  }

  /** The memory that the guest's kernel has, after what it took for itself. */
  public DataSize memory() {
    return memory;
  }

  /** How many processors the guest sees. */
  public int cpus() {
    return cpus;
  }

  /**
   * Whether the kernel that the guest says it runs is the one that was booted, by release and
   * version, asked when the sandbox became ready and before any of the workload ran. A difference
   * is reported here and is no failure: which kernel was booted is known without the guest.
   */
  public boolean runsBootedKernel() {
    return kernelRelease.equals(bootedRelease) && kernelVersion.equals(bootedVersion);
  }

  private List<Object> state() {
    return List.of(
        name,
        labels,
        image,
        imageDigest,
        imageConfig,
        kernel,
        bootedRelease,
        bootedVersion,
        kernelRelease,
        kernelVersion,
        machine,
        agentVersion,
        memory,
        cpus);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof SandboxInfo that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "sandbox " + name + " of " + image + " (" + imageDigest + ") on " + kernel;
  }

  /** Makes a {@link SandboxInfo}. Not safe for use from several threads. */
  public static final class Builder {
    private final String name;
    private final ImageRef image;
    private final Digest imageDigest;
    private final KernelRef kernel;
    private Map<String, String> labels = Map.of();
    private ImageConfig imageConfig = ImageConfig.builder(Platform.LINUX_AMD64).build();
    private String bootedRelease = "";
    private String bootedVersion = "";
    private String kernelRelease = "";
    private String kernelVersion = "";
    private String machine = "";
    private String agentVersion = "";
    private DataSize memory = DataSize.bytes(0);
    private int cpus = 1;

    private Builder(String name, ImageRef image, Digest imageDigest, KernelRef kernel) {
      this.name = Objects.requireNonNull(name);
      this.image = Objects.requireNonNull(image);
      this.imageDigest = Objects.requireNonNull(imageDigest);
      this.kernel = Objects.requireNonNull(kernel);
    }

    /** As {@link SandboxInfo#labels()}. */
    public Builder labels(Map<String, String> labels) {
      this.labels = Map.copyOf(labels);
      return this;
    }

    /** As {@link SandboxInfo#imageConfig()}. */
    public Builder imageConfig(ImageConfig config) {
      imageConfig = Objects.requireNonNull(config);
      return this;
    }

    /** As {@link SandboxInfo#bootedRelease()} and {@link SandboxInfo#bootedVersion()}. */
    public Builder booted(String release, String version) {
      bootedRelease = Objects.requireNonNull(release);
      bootedVersion = Objects.requireNonNull(version);
      return this;
    }

    /**
     * As {@link SandboxInfo#kernelRelease()}, {@link SandboxInfo#kernelVersion()} and {@link
     * SandboxInfo#machine()}.
     */
    public Builder uname(String release, String version, String machine) {
      kernelRelease = Objects.requireNonNull(release);
      kernelVersion = Objects.requireNonNull(version);
      this.machine = Objects.requireNonNull(machine);
      return this;
    }

    /** As {@link SandboxInfo#agentVersion()}. */
    public Builder agentVersion(String version) {
      agentVersion = Objects.requireNonNull(version);
      return this;
    }

    /** As {@link SandboxInfo#memory()}. */
    public Builder memory(DataSize memory) {
      this.memory = Objects.requireNonNull(memory);
      return this;
    }

    /** As {@link SandboxInfo#cpus()}. */
    public Builder cpus(int cpus) {
      this.cpus = cpus;
      return this;
    }

    /** The information. */
    public SandboxInfo build() {
      return new SandboxInfo(this);
    }
  }
}
