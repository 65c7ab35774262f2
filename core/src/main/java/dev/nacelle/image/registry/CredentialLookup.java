// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import com.google.common.base.Strings;
import com.google.common.collect.Iterables;
import dev.nacelle.image.RegistryCredentials;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.internal.OperatingSystem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** Which credentials are for a repository: the options' own, then those of files. */
final class CredentialLookup {
  /** What docker.io is called in files: by Docker, from when it was an index, and by Podman. */
  private static final List<String> DOCKER_NAMES =
      List.of("https://index.docker.io/v1/", "docker.io", "index.docker.io");

  private final RegistryOptions options;
  private final UnaryOperator<@Nullable String> environment;
  private final Deadline deadline;

  /**
   * A lookup.
   *
   * @param environment the variables of the environment, by name; null for absent ones
   * @param deadline of helpers
   */
  CredentialLookup(
      RegistryOptions options, UnaryOperator<@Nullable String> environment, Deadline deadline) {
    this.options = options;
    this.environment = environment;
    this.deadline = deadline;
  }

  Optional<RegistryCredentials> find(Endpoint endpoint) throws IOException {
    List<String> paths = paths(endpoint);
    List<String> names =
        endpoint.host().equals("docker.io") ? DOCKER_NAMES : List.of(endpoint.host());
    for (String key : Iterables.concat(paths, names)) {
      RegistryCredentials own = options.credentials().get(key);
      if (own != null) {
        return Optional.of(own);
      }
    }
    Optional<List<Path>> files = options.credentialFiles();
    for (Path path : files.isPresent() ? files.get() : files()) {
      CredentialFile file = CredentialFile.read(path);
      Optional<RegistryCredentials> found =
          file == null ? Optional.empty() : file.find(paths, names, deadline);
      if (found.isPresent()) {
        return found;
      }
    }
    return Optional.empty();
  }

  /** "The path (or namespace) is matched in its hierarchical order": containers-auth.json(5). */
  private static List<String> paths(Endpoint endpoint) {
    List<String> paths = new ArrayList<>();
    String name = endpoint.host() + "/" + endpoint.repository();
    for (int slash; (slash = name.lastIndexOf('/')) >= 0; name = name.substring(0, slash)) {
      paths.add(name);
    }
    return paths;
  }

  /**
   * In the order of containers-auth.json(5), and of containers/image where that says nothing: on
   * Windows Podman has no directory that ends with the session.
   */
  List<Path> files() throws IOException {
    String home = System.getProperty("user.home");
    List<Path> files = new ArrayList<>();
    Optional<Path> named = variable("REGISTRY_AUTH_FILE").map(Path::of);
    Optional<Path> runtime =
        variable("XDG_RUNTIME_DIR").map(directory -> Path.of(directory, "containers"));
    if (named.isPresent()) {
      files.add(named.get());
    } else if (runtime.isPresent()) {
      files.add(runtime.get().resolve("auth.json"));
    } else if (!OperatingSystem.isWindows()) {
      files.add(Path.of("/run/containers", userId(), "auth.json"));
    }
    Path config = variable("XDG_CONFIG_HOME").map(Path::of).orElse(Path.of(home, ".config"));
    Path docker = variable("DOCKER_CONFIG").map(Path::of).orElse(Path.of(home, ".docker"));
    files.add(config.resolve("containers").resolve("auth.json"));
    files.add(docker.resolve("config.json"));
    return files;
  }

  private static String userId() throws IOException {
    return Files.getAttribute(Path.of("/proc/self"), "unix:uid").toString();
  }

  private Optional<String> variable(String name) {
    return Optional.ofNullable(Strings.emptyToNull(environment.apply(name)));
  }
}
