// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import com.fasterxml.jackson.databind.JsonNode;
import dev.nacelle.ImageException;
import dev.nacelle.image.RegistryCredentials;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What refusals mean, in words for people ("Error Codes" of the distribution specification). */
final class Failures {
  private static final int MAX_ERROR = 16 << 10;
  private static final int MAX_SHOWN = 200;

  private Failures() {}

  /**
   * What an unwanted status means.
   *
   * @param what was asked, as in "the manifest of X at HOST"
   * @return a TransientException where another attempt may help
   * @throws ImageException where it will not
   */
  static TransientException of(HttpReply reply, String what) throws IOException {
    String said = said(reply);
    String message = what + ": " + reply.uri().getHost() + " answers " + reply.status() + said;
    if (mayPass(reply.status())) {
      return new TransientException(
          reply.status() == 429
              ? ImageException.Reason.RATE_LIMITED
              : ImageException.Reason.NETWORK,
          message,
          retryAfter(reply),
          null);
    }
    switch (reply.status()) {
      case 400 -> {
        boolean tlsIsMissing = "http".equals(reply.uri().getScheme()) && said.contains("HTTPS");
        throw new ImageException(
            tlsIsMissing
                ? ImageException.Reason.CONFIGURATION
                : ImageException.Reason.REGISTRY_FAULT,
            message,
            tlsIsMissing ? "It speaks TLS: take it out of RegistryOptions plainHttp." : null,
            null);
      }
      case 403 ->
          throw new ImageException(
              ImageException.Reason.UNAUTHORIZED,
              message,
              "Log in as somebody who may pull this, as with 'docker login' or RegistryOptions"
                  + " credentials.",
              null);
      default ->
          throw new ImageException(ImageException.Reason.REGISTRY_FAULT, message, null, null);
    }
  }

  /** CDNs have a 5xx of their own; 501 and 505 are of what a server cannot do (RFC 9110, 15.6). */
  private static boolean mayPass(int status) {
    return switch (status) {
      case 408, 425, 429 -> true;
      case 501, 505 -> false;
      default -> status >= 500;
    };
  }

  /** The registry, or its token service, does not take what it was given. */
  static ImageException unauthorized(Endpoint endpoint, Optional<RegistryCredentials> login) {
    if (login.isEmpty()) {
      return new ImageException(
          ImageException.Reason.UNAUTHORIZED,
          endpoint + " wants somebody to be logged in to give " + endpoint.repository(),
          "Log in, as with 'docker login "
              + endpoint
              + "', or give RegistryOptions credentials. Some registries say this of names that"
              + " do not exist: check the name, too.",
          null);
    }
    return new ImageException(
        ImageException.Reason.UNAUTHORIZED,
        endpoint + " refuses the " + login.get() + " for " + endpoint.repository(),
        "Check the user name and the password or token, and whether they may pull this.",
        null);
  }

  /** Code and message of the first error, as far as they are fit to be shown; else nothing. */
  private static String said(HttpReply reply) throws IOException {
    byte[] body;
    try {
      body = reply.readAll(MAX_ERROR);
    } catch (TransientException | ImageException e) {
      return "";
    }
    if (body == null) {
      return "";
    }
    JsonNode json = Json.parse(body);
    if (json == null) {
      // Go's server says so where TLS is missing.
      String text = new String(body, StandardCharsets.UTF_8);
      return text.contains("HTTP request to an HTTPS server") ? ": HTTP to an HTTPS server" : "";
    }
    JsonNode error = json.path("errors").path(0);
    String text = Json.string(error, "code") + " " + Json.string(error, "message");
    String shown = text.strip().replaceAll("[^\\x20-\\x7e]", "?");
    return shown.isEmpty() ? "" : ": " + shown.substring(0, Math.min(shown.length(), MAX_SHOWN));
  }

  /** RFC 9110 section 10.2.3: seconds, or a date; null where it is neither. */
  private static @Nullable Duration retryAfter(HttpReply reply) {
    String value = reply.header("Retry-After").orElse("").strip();
    try {
      if (value.matches("[0-9]{1,9}")) {
        return Duration.ofSeconds(Long.parseLong(value));
      }
      Instant then = ZonedDateTime.parse(value, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant();
      Duration wait = Duration.between(Instant.now(), then);
      return wait.isNegative() ? null : wait;
    } catch (DateTimeParseException e) {
      return null;
    }
  }
}
