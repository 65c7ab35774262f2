// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import com.fasterxml.jackson.databind.JsonNode;
import dev.nacelle.ImageException;
import dev.nacelle.image.RegistryCredentials;
import dev.nacelle.internal.ExternalProcess;
import dev.nacelle.internal.ProgramSearch;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Asks a program for credentials, by the protocol of docker-credential-helpers. */
final class CredentialHelper {
  private static final String PREFIX = "docker-credential-";
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]*");
  private static final Duration TIMEOUT = Duration.ofSeconds(30);
  private static final int MAX_OUTPUT = 1 << 20;

  /** The word of every helper for what it does not have. */
  private static final String NOT_FOUND = "credentials not found";

  /** The user name that says that the secret is an identity token. */
  private static final String TOKEN_USER = "<token>";

  private CredentialHelper() {}

  /**
   * What a helper has for a registry.
   *
   * @param name what follows "docker-credential-" in the name of the program
   * @param file that named it
   * @param deadline when it has to have ended, if {@link #TIMEOUT} is not over before
   * @throws ImageException when it cannot be run, or fails; what it wrote is not in there
   */
  static Optional<RegistryCredentials> get(
      String name, String registry, Path file, Deadline deadline) throws InterruptedIOException {
    String program = PREFIX + name;
    if (!NAME.matcher(name).matches()) {
      throw failed(program, file, "its name is not made of letters, digits and ._-", null);
    }
    return ask(program, registry, file, deadline);
  }

  static Optional<RegistryCredentials> ask(
      String program, String registry, Path file, Deadline deadline) throws InterruptedIOException {
    Duration timeout = deadline.atMost(TIMEOUT);
    ExternalProcess done;
    try {
      done =
          ExternalProcess.filter(
              List.of(ProgramSearch.find(program), "get"),
              registry.getBytes(StandardCharsets.UTF_8),
              MAX_OUTPUT,
              timeout);
    } catch (InterruptedIOException e) {
      throw e;
    } catch (IOException e) {
      throw failed(program, file, "it cannot be run: " + e.getMessage(), e);
    } catch (TimeoutException e) {
      String limit = timeout.equals(TIMEOUT) ? timeout.toString() : "the timeout of the pull";
      throw failed(program, file, "it did not end within " + limit, e);
    }
    if (done.exitCode() != 0) {
      if (done.output().contains(NOT_FOUND)) {
        return Optional.empty();
      }
      throw failed(program, file, "it ended with " + done.exitCode(), null);
    }
    JsonNode json = Json.parse(done.output().getBytes(StandardCharsets.UTF_8));
    if (json == null || Json.string(json, "Secret").isEmpty()) {
      throw failed(program, file, "it gave no JSON object with a Secret", null);
    }
    String username = Json.string(json, "Username");
    String secret = Json.string(json, "Secret");
    return Optional.of(
        username.equals(TOKEN_USER)
            ? RegistryCredentials.identityToken(secret)
            : RegistryCredentials.password(username, secret));
  }

  private static ImageException failed(
      String program, Path file, String fault, @Nullable Throwable cause) {
    return new ImageException(
        ImageException.Reason.CONFIGURATION,
        "The credential helper " + program + ", which " + file + " names, failed: " + fault,
        "Run it by hand, as 'echo HOST | "
            + program
            + " get', to see what is wrong;"
            + " or name other files, or none, with RegistryOptions credentialFiles.",
        cause);
  }
}
