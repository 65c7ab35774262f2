// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What an image says of how to run it (config.md of the OCI image specification). These are the
 * words of the image's author: untrusted, and only syntactically checked. Immutable.
 */
public final class ImageConfig {
  private final Platform platform;
  private final List<String> environment;
  private final List<String> entrypoint;
  private final List<String> command;
  private final String workingDirectory;
  private final String user;
  private final String stopSignal;
  private final Map<String, String> labels;
  private final Set<String> exposedPorts;
  private final Set<String> volumes;

  private ImageConfig(Builder builder) {
    platform = builder.platform;
    environment = builder.environment;
    entrypoint = builder.entrypoint;
    command = builder.command;
    workingDirectory = builder.workingDirectory;
    user = builder.user;
    stopSignal = builder.stopSignal;
    labels = builder.labels;
    exposedPorts = builder.exposedPorts;
    volumes = builder.volumes;
  }

  /** One that says nothing but this. */
  public static Builder builder(Platform platform) {
    return new Builder(platform);
  }

  /** What it runs on. */
  public Platform platform() {
    return platform;
  }

  /** Env: {@code NAME=VALUE} each. */
  public List<String> environment() {
    return environment;
  }

  /** Entrypoint: what to run, in front of the command; empty where there is none. */
  public List<String> entrypoint() {
    return entrypoint;
  }

  /** Cmd: the command, or the default arguments of the entrypoint; empty where there is none. */
  public List<String> command() {
    return command;
  }

  /** WorkingDir: where to run it, where that is not "/". */
  public Optional<String> workingDirectory() {
    return unlessEmpty(workingDirectory);
  }

  /** User, where it is not root: {@code user}, {@code uid}, {@code user:group} and so on. */
  public Optional<String> user() {
    return unlessEmpty(user);
  }

  /** StopSignal, as {@link dev.nacelle.Signal#parse} takes it, where it is not SIGTERM. */
  public Optional<String> stopSignal() {
    return unlessEmpty(stopSignal);
  }

  /** Labels, by key. */
  public Map<String, String> labels() {
    return labels;
  }

  /** ExposedPorts: {@code PORT[/PROTOCOL]} each. */
  public Set<String> exposedPorts() {
    return exposedPorts;
  }

  /** Volumes: paths that want storage of their own. */
  public Set<String> volumes() {
    return volumes;
  }

  private static Optional<String> unlessEmpty(String text) {
    return text.isEmpty() ? Optional.empty() : Optional.of(text);
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(
        platform,
        environment,
        entrypoint,
        command,
        workingDirectory,
        user,
        stopSignal,
        labels,
        exposedPorts,
        volumes);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ImageConfig config && state().equals(config.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  /** What it runs, without the values of variables, which may be secrets. */
  @Override
  public String toString() {
    return platform
        + ", entrypoint "
        + entrypoint
        + ", command "
        + command
        + (environment.isEmpty()
            ? ""
            : ", with " + environment.stream().map(variable -> variable.split("=", 2)[0]).toList());
  }

  /** Makes an {@link ImageConfig}. Not safe for use from several threads. */
  public static final class Builder {
    private final Platform platform;
    private List<String> environment = List.of();
    private List<String> entrypoint = List.of();
    private List<String> command = List.of();
    private String workingDirectory = "";
    private String user = "";
    private String stopSignal = "";
    private Map<String, String> labels = Map.of();
    private Set<String> exposedPorts = Set.of();
    private Set<String> volumes = Set.of();

    private Builder(Platform platform) {
      this.platform = Objects.requireNonNull(platform);
    }

    /** As {@link ImageConfig#environment()}. */
    public Builder environment(List<String> variables) {
      environment = List.copyOf(variables);
      return this;
    }

    /** As {@link ImageConfig#entrypoint()}. */
    public Builder entrypoint(List<String> entrypoint) {
      this.entrypoint = List.copyOf(entrypoint);
      return this;
    }

    /** As {@link ImageConfig#command()}. */
    public Builder command(List<String> command) {
      this.command = List.copyOf(command);
      return this;
    }

    /** As {@link ImageConfig#workingDirectory()}; empty for "/". */
    public Builder workingDirectory(String path) {
      workingDirectory = Objects.requireNonNull(path);
      return this;
    }

    /** As {@link ImageConfig#user()}; empty for root. */
    public Builder user(String user) {
      this.user = Objects.requireNonNull(user);
      return this;
    }

    /** As {@link ImageConfig#stopSignal()}; empty for SIGTERM. */
    public Builder stopSignal(String signal) {
      stopSignal = Objects.requireNonNull(signal);
      return this;
    }

    /** As {@link ImageConfig#labels()}. */
    public Builder labels(Map<String, String> labels) {
      this.labels = Map.copyOf(labels);
      return this;
    }

    /** As {@link ImageConfig#exposedPorts()}. */
    public Builder exposedPorts(Set<String> ports) {
      exposedPorts = Set.copyOf(ports);
      return this;
    }

    /** As {@link ImageConfig#volumes()}. */
    public Builder volumes(Set<String> paths) {
      volumes = Set.copyOf(paths);
      return this;
    }

    /** The configuration. */
    public ImageConfig build() {
      return new ImageConfig(this);
    }
  }
}
