// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import com.fasterxml.jackson.databind.JsonNode;
import dev.nacelle.ImageException;
import dev.nacelle.image.RegistryCredentials;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A file of credentials: Docker's config.json, and Podman's auth.json (containers-auth.json(5)).
 */
final class CredentialFile {
  private static final int MAX_SIZE = 4 << 20;

  /** Old tools wrote addresses of the API, such as "https://registry.example.com/v1/". */
  private static final Pattern ADDRESS =
      Pattern.compile("^https?://([^/]+)(?:/v[12])?/?$|^([^/]+)(?:/v[12])?/$");

  private final Path path;
  private final JsonNode json;

  private CredentialFile(Path path, JsonNode json) {
    this.path = path;
    this.json = json;
  }

  /**
   * Reads a file.
   *
   * @return null where there is none, or nothing in it
   * @throws ImageException when it cannot be read, or is not of that format
   */
  static @Nullable CredentialFile read(Path path) {
    if (!Files.isRegularFile(path)) {
      return null;
    }
    byte[] bytes;
    try (InputStream in = Files.newInputStream(path)) {
      bytes = in.readNBytes(MAX_SIZE);
    } catch (IOException e) {
      throw new ImageException(
          ImageException.Reason.CONFIGURATION,
          "The credentials in " + path + " cannot be read: " + e,
          "Make it readable, or name other files with RegistryOptions credentialFiles.",
          e);
    }
    if (bytes.length == 0) {
      return null;
    }
    JsonNode json = Json.parse(bytes);
    if (json == null) {
      throw new ImageException(
          ImageException.Reason.CONFIGURATION,
          "The credentials in " + path + " are no JSON object",
          "Mend or delete that file, or name other ones with RegistryOptions credentialFiles.",
          null);
    }
    return new CredentialFile(path, json);
  }

  /**
   * The first that is there, in the order of containers-auth.json(5) for paths, and for a registry
   * in that of Docker: its own helper, the store of all, an entry.
   *
   * @param paths registry and path, the most exact first
   * @param names of the registry; the first is what Docker asks its store for
   * @param deadline of helpers
   */
  Optional<RegistryCredentials> find(List<String> paths, List<String> names, Deadline deadline)
      throws IOException {
    for (String path : paths) {
      Optional<RegistryCredentials> found = helped(path, deadline).or(() -> entry(path));
      if (found.isPresent()) {
        return found;
      }
    }
    for (String name : names) {
      Optional<RegistryCredentials> found = helped(name, deadline);
      if (found.isPresent()) {
        return found;
      }
    }
    String store = Json.string(json, "credsStore");
    Optional<RegistryCredentials> stored =
        store.isEmpty()
            ? Optional.empty()
            : CredentialHelper.get(store, names.get(0), path, deadline);
    return stored.or(() -> entry(names));
  }

  private Optional<RegistryCredentials> helped(String key, Deadline deadline) throws IOException {
    String helper = Json.string(json.path("credHelpers"), key);
    return helper.isEmpty() ? Optional.empty() : CredentialHelper.get(helper, key, path, deadline);
  }

  private Optional<RegistryCredentials> entry(String key) {
    return read(key, json.path("auths").path(key));
  }

  private Optional<RegistryCredentials> entry(List<String> names) {
    for (String name : names) {
      Optional<RegistryCredentials> exact = entry(name);
      if (exact.isPresent()) {
        return exact;
      }
    }
    for (Map.Entry<String, JsonNode> entry : json.path("auths").properties()) {
      if (names.contains(ADDRESS.matcher(entry.getKey()).replaceFirst("$1$2"))) {
        Optional<RegistryCredentials> old = read(entry.getKey(), entry.getValue());
        if (old.isPresent()) {
          return old;
        }
      }
    }
    return Optional.empty();
  }

  private Optional<RegistryCredentials> read(String key, JsonNode entry) {
    String identityToken = Json.string(entry, "identitytoken");
    if (!identityToken.isEmpty()) {
      return Optional.of(RegistryCredentials.identityToken(identityToken));
    }
    String registryToken = Json.string(entry, "registrytoken");
    if (!registryToken.isEmpty()) {
      return Optional.of(RegistryCredentials.registryToken(registryToken));
    }
    String auth = Json.string(entry, "auth");
    if (auth.isEmpty()) {
      String username = Json.string(entry, "username");
      return username.isEmpty()
          ? Optional.empty()
          : Optional.of(RegistryCredentials.password(username, Json.string(entry, "password")));
    }
    String decoded;
    try {
      // Made with "base64" it has lines of 76 characters; Go's decoder passes over their ends, too.
      byte[] bytes = Base64.getDecoder().decode(auth.replaceAll("[\\r\\n]", ""));
      decoded = new String(bytes, StandardCharsets.UTF_8);
    } catch (IllegalArgumentException e) {
      decoded = "";
    }
    int colon = decoded.indexOf(':');
    if (colon < 0) {
      throw new ImageException(
          ImageException.Reason.CONFIGURATION,
          "The credentials for '" + key + "' in " + path + " are not USER:PASSWORD in base64",
          "Log in again, as with 'docker login' or 'podman login'.",
          null);
    }
    // Docker's files once had a NUL behind the password.
    return Optional.of(
        RegistryCredentials.password(
            decoded.substring(0, colon), decoded.substring(colon + 1).replaceFirst("\0+$", "")));
  }
}
