// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.nacelle.ProcessSpec;
import dev.nacelle.SandboxSpec;
import dev.nacelle.image.ImageRef;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A bundle of the OCI runtime specification (bundle.md): a directory with a {@code config.json} and
 * a root filesystem, as it was when it was read. Immutable.
 */
public final class OciBundle {
  private static final long MAX_CONFIG_BYTES = 16 << 20;

  private final Path directory;
  private final String ociVersion;
  private final Map<String, String> annotations;
  private final SandboxSpec sandbox;
  private final Optional<ProcessSpec> process;
  private final Map<Hook.Kind, List<Hook>> hooks;

  private OciBundle(Path directory, ConfigReader config) {
    this.directory = directory;
    ociVersion = config.version();
    annotations = Collections.unmodifiableMap(config.annotations());
    Path root = directory.resolve(config.rootPath()).normalize();
    if (!Files.isDirectory(root)) {
      throw new IllegalArgumentException("root.path: there is no directory " + root);
    }
    SandboxSpec.Builder spec =
        SandboxSpec.builder().image(ImageRef.directory(root)).entrypoint(List.of());
    config.sandbox(spec);
    sandbox = spec.build();
    process = config.process();
    hooks = config.hooks();
  }

  /**
   * Reads a bundle.
   *
   * @throws IOException when there is no config.json in it, or it cannot be read
   * @throws IllegalArgumentException when it is not as the specification has it, or asks for what
   *     cannot be had; the message begins with the property, as {@code linux.intelRdt}
   */
  public static OciBundle read(Path directory) throws IOException {
    Path absolute = directory.toAbsolutePath().normalize();
    Path file = absolute.resolve("config.json");
    if (Files.size(file) > MAX_CONFIG_BYTES) {
      throw new IllegalArgumentException(file + " is larger than 16 MiB");
    }
    try {
      Json config = new Json("", new ObjectMapper().readTree(Files.readAllBytes(file)));
      if (!config.node().isObject()) {
        throw new IllegalArgumentException(file + " holds no object");
      }
      return new OciBundle(absolute, new ConfigReader(config));
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(file + " is not JSON: " + e.getOriginalMessage(), e);
    }
  }

  /** Its directory, absolute. */
  public Path directory() {
    return directory;
  }

  /** The version of the specification that it is written for. */
  public String ociVersion() {
    return ociVersion;
  }

  /** What its author says of it. */
  public Map<String, String> annotations() {
    return annotations;
  }

  /**
   * A sandbox with all that it says but the process and the hooks, to be given a kernel, memory and
   * what else the specification does not have. Its root filesystem is read when the sandbox starts.
   */
  public SandboxSpec.Builder sandbox() {
    return sandbox.toBuilder();
  }

  /** The process to run in it, where it has one. */
  public Optional<ProcessSpec> process() {
    return process;
  }

  List<Hook> hooks(Hook.Kind kind) {
    return hooks.getOrDefault(kind, List.of());
  }
}
