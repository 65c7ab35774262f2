// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import com.fasterxml.jackson.databind.JsonNode;
import dev.nacelle.image.ImageException;
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
import org.jspecify.annotations.Nullable;

/**
 * A file of credentials: Docker's config.json, and Podman's auth.json (containers-auth.json(5)).
 */
final class CredentialFile {
  private static final int MAX_SIZE = 4 << 20;

  private final Path path;
  private final JsonNode json;

  private CredentialFile(Path path, JsonNode json) {
    this.path = path;
    this.json = json;
  }

  /**
   * Reads a file.
   *
   * @return null where there is none
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
          "The credentials in " + path + " cannot be read: " + e,
          "Make it readable, or name other files with RegistryOptions credentialFiles.",
          e);
    }
    JsonNode json = Json.parse(bytes);
    if (json == null) {
      throw new ImageException(
          "The credentials in " + path + " are no JSON object",
          "Mend or delete that file, or name other ones with RegistryOptions credentialFiles.",
          null);
    }
    return new CredentialFile(path, json);
  }

  /**
   * The first that is there for one of these.
   *
   * @param keys registries and paths in them, the most exact first
   */
  Optional<RegistryCredentials> find(List<String> keys) throws IOException {
    for (String key : keys) {
      String helper = Json.string(json.path("credHelpers"), key);
      Optional<RegistryCredentials> found =
          helper.isEmpty() ? entry(key) : CredentialHelper.get(helper, key, path);
      if (found.isPresent()) {
        return found;
      }
    }
    String store = Json.string(json, "credsStore");
    if (!store.isEmpty()) {
      for (String key : keys) {
        Optional<RegistryCredentials> found =
            key.indexOf('/') < 0 || key.startsWith("https:")
                ? CredentialHelper.get(store, key, path)
                : Optional.empty();
        if (found.isPresent()) {
          return found;
        }
      }
    }
    return Optional.empty();
  }

  private Optional<RegistryCredentials> entry(String key) {
    for (Map.Entry<String, JsonNode> entry : json.path("auths").properties()) {
      if (entry.getKey().equals(key) || normalize(entry.getKey()).equals(key)) {
        Optional<RegistryCredentials> credentials = read(entry.getKey(), entry.getValue());
        if (credentials.isPresent()) {
          return credentials;
        }
      }
    }
    return Optional.empty();
  }

  /** Old tools wrote addresses of the API, such as "https://registry.example.com/v1/". */
  private static String normalize(String key) {
    int scheme = key.indexOf("://");
    return key.substring(scheme < 0 ? 0 : scheme + 3).replaceFirst("(/v[12])?/?$", "");
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
      decoded = new String(Base64.getDecoder().decode(auth), StandardCharsets.UTF_8);
    } catch (IllegalArgumentException e) {
      decoded = "";
    }
    int colon = decoded.indexOf(':');
    if (colon < 0) {
      throw new ImageException(
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
