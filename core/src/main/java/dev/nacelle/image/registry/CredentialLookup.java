// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.image.RegistryCredentials;
import dev.nacelle.image.RegistryOptions;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** Which credentials are for a repository: the options' own, then those of files. */
final class CredentialLookup {
  /** What docker.io is called in Docker's files, from when it was an index. */
  private static final List<String> DOCKER_NAMES =
      List.of("docker.io", "https://index.docker.io/v1/", "index.docker.io");

  private final RegistryOptions options;
  private final UnaryOperator<@Nullable String> environment;

  /**
   * A lookup.
   *
   * @param environment the variables of the environment, by name; null for absent ones
   */
  CredentialLookup(RegistryOptions options, UnaryOperator<@Nullable String> environment) {
    this.options = options;
    this.environment = environment;
  }

  Optional<RegistryCredentials> find(Endpoint endpoint) throws IOException {
    List<String> keys = keys(endpoint);
    for (String key : keys) {
      RegistryCredentials own = options.credentials().get(key);
      if (own != null) {
        return Optional.of(own);
      }
    }
    for (Path path : options.credentialFiles().orElseGet(this::files)) {
      CredentialFile file = CredentialFile.read(path);
      Optional<RegistryCredentials> found = file == null ? Optional.empty() : file.find(keys);
      if (found.isPresent()) {
        return found;
      }
    }
    return Optional.empty();
  }

  /** "The path (or namespace) is matched in its hierarchical order": containers-auth.json(5). */
  private static List<String> keys(Endpoint endpoint) {
    List<String> keys = new ArrayList<>();
    String name = endpoint.host() + "/" + endpoint.repository();
    for (int slash; (slash = name.lastIndexOf('/')) >= 0; name = name.substring(0, slash)) {
      keys.add(name);
    }
    keys.addAll(endpoint.host().equals("docker.io") ? DOCKER_NAMES : List.of(endpoint.host()));
    return keys;
  }

  private List<Path> files() {
    List<Path> files = new ArrayList<>();
    String home = System.getProperty("user.home");
    String explicit = environment.apply("REGISTRY_AUTH_FILE");
    String runtime = environment.apply("XDG_RUNTIME_DIR");
    if (explicit != null) {
      files.add(Path.of(explicit));
    } else if (runtime != null) {
      files.add(Path.of(runtime, "containers", "auth.json"));
    }
    String config = environment.apply("XDG_CONFIG_HOME");
    files.add(
        (config == null ? Path.of(home, ".config") : Path.of(config))
            .resolve("containers")
            .resolve("auth.json"));
    String docker = environment.apply("DOCKER_CONFIG");
    files.add((docker == null ? Path.of(home, ".docker") : Path.of(docker)).resolve("config.json"));
    return files;
  }
}
