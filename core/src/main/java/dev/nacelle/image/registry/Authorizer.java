// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import com.fasterxml.jackson.databind.JsonNode;
import dev.nacelle.ImageException;
import dev.nacelle.image.RegistryCredentials;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What goes into the Authorization header for one endpoint: nothing, until the server asks; then a
 * password ("Basic"), or a token of the service that it names ("Bearer", Docker's token and OAuth2
 * authentication specifications). Safe for use from several threads.
 */
final class Authorizer {
  private static final int MAX_TOKEN_REPLY = 1 << 20;

  /** "client_id" of the specification: for the service's own records. */
  private static final String CLIENT = "nacelle";

  /** RFC 6750 section 2.1; what is not of it could not be sent, and would be shown in an error. */
  private static final Pattern TOKEN = Pattern.compile("[A-Za-z0-9._~+/=:-]{1,65536}");

  private final Endpoint endpoint;
  private final Endpoint origin;
  private final HttpTransport transport;
  private final CredentialLookup lookup;

  /** Held by the thread that logs in; others wait for what it gets, and can be interrupted. */
  private final ReentrantLock loggingIn = new ReentrantLock();

  private boolean lookedUp; // guarded by loggingIn
  private volatile Optional<RegistryCredentials> credentials = Optional.empty();
  private volatile @Nullable String current;

  /** For an endpoint that somebody named. */
  Authorizer(Endpoint endpoint, HttpTransport transport, CredentialLookup lookup) {
    this(endpoint, endpoint, transport, lookup);
  }

  /**
   * For an endpoint that another one may have named: then it gets no password, but its token
   * service may.
   *
   * @param origin who named it, whose certificates are trusted
   */
  Authorizer(Endpoint endpoint, Endpoint origin, HttpTransport transport, CredentialLookup lookup) {
    this.endpoint = endpoint;
    this.origin = origin;
    this.transport = transport;
    this.lookup = lookup;
  }

  /** The header for the next request; null for none. */
  @Nullable String current() {
    return current;
  }

  /**
   * Answers a challenge.
   *
   * @param refused what the refused request had in its header
   * @return whether there is another header now, with which it can be tried again
   */
  boolean answer(List<String> challenges, @Nullable String refused) throws IOException {
    lock();
    try {
      String known = current;
      if (known != null && !known.equals(refused)) {
        // Another thread was faster.
        return true;
      }
      String fresh = header(Challenge.parse(challenges));
      if (fresh == null || fresh.equals(refused)) {
        return false;
      }
      current = fresh;
      return true;
    } finally {
      loggingIn.unlock();
    }
  }

  private void lock() throws InterruptedIOException {
    try {
      loggingIn.lockInterruptibly();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while another thread logs in to " + endpoint);
    }
  }

  /** Whether a token was not enough, and a password may be, as Harbor has it. */
  static boolean isPasswordWanted(List<String> challenges, @Nullable String refused) {
    return refused != null
        && refused.startsWith("Bearer ")
        && Challenge.parse(challenges).stream().noneMatch(c -> c.scheme().equals("bearer"));
  }

  /** Whether there is somebody to log in as. */
  boolean hasCredentials() throws IOException {
    lock();
    try {
      return login() != null;
    } finally {
      loggingIn.unlock();
    }
  }

  private @Nullable RegistryCredentials login() throws IOException {
    if (!lookedUp) {
      credentials = lookup.find(endpoint);
      lookedUp = true;
    }
    return credentials.orElse(null);
  }

  Endpoint endpoint() {
    return endpoint;
  }

  /** With what this endpoint was logged in to; empty when nobody was named. */
  Optional<RegistryCredentials> used() {
    return credentials;
  }

  private @Nullable String header(List<Challenge> challenges) throws IOException {
    RegistryCredentials login = login();
    for (Challenge challenge : challenges) {
      if (challenge.scheme().equals("bearer")) {
        return login != null && login.kind() == RegistryCredentials.Kind.REGISTRY_TOKEN
            ? bearer(login.secret())
            : bearer(token(challenge, login));
      }
    }
    for (Challenge challenge : challenges) {
      if (challenge.scheme().equals("basic") && endpoint.equals(origin)) {
        return login != null && login.kind() == RegistryCredentials.Kind.PASSWORD
            ? basic(login)
            : null;
      }
    }
    return null;
  }

  private String bearer(String token) {
    if (!TOKEN.matcher(token).matches()) {
      throw failed("the token for it has characters that no token has", null);
    }
    return "Bearer " + token;
  }

  private static String basic(RegistryCredentials login) {
    String pair = login.username() + ":" + login.secret();
    return "Basic " + Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
  }

  private String token(Challenge challenge, @Nullable RegistryCredentials login)
      throws IOException {
    URI realm = realm(challenge.parameters());
    String service = challenge.parameters().getOrDefault("service", "");
    List<String> scopes =
        Arrays.stream(
                challenge
                    .parameters()
                    .getOrDefault("scope", "repository:" + endpoint.repository() + ":pull")
                    .split(" ", -1))
            .filter(scope -> !scope.isEmpty())
            .toList();
    try (HttpReply reply = askForToken(realm, service, scopes, login)) {
      if (reply.status() == 401 || reply.status() == 403) {
        throw Failures.unauthorized(endpoint, Optional.ofNullable(login));
      }
      if (reply.status() / 100 != 2) {
        throw Failures.of(reply, "the token service of " + endpoint);
      }
      byte[] body = reply.readAll(MAX_TOKEN_REPLY);
      JsonNode json = body == null ? null : Json.parse(body);
      String token = json == null ? "" : Json.string(json, "token");
      if (json != null && token.isEmpty()) {
        token = Json.string(json, "access_token");
      }
      if (token.isEmpty()) {
        throw failed(HttpTransport.show(realm) + " gave no JSON object with a token", null);
      }
      return token;
    }
  }

  private URI realm(Map<String, String> parameters) {
    String realm = parameters.getOrDefault("realm", "");
    if (realm.isEmpty()) {
      throw failed("it names no token service", null);
    }
    try {
      return Reference.resolve(endpoint.base(), realm);
    } catch (IllegalArgumentException e) {
      throw failed("it names no token service, but " + e.getMessage(), null);
    }
  }

  private HttpReply askForToken(
      URI realm, String service, List<String> scopes, @Nullable RegistryCredentials login)
      throws IOException {
    String serviceParameter = service.isEmpty() ? "" : "&service=" + encode(service);
    if (login != null && login.kind() == RegistryCredentials.Kind.IDENTITY_TOKEN) {
      return transport.post(
          origin,
          realm,
          "grant_type=refresh_token&client_id="
              + CLIENT
              + serviceParameter
              + "&scope="
              + encode(String.join(" ", scopes))
              + "&refresh_token="
              + encode(login.secret()));
    }
    String query =
        "client_id="
            + CLIENT
            + serviceParameter
            + scopes.stream().map(scope -> "&scope=" + encode(scope)).collect(Collectors.joining())
            + (login == null ? "" : "&account=" + encode(login.username()));
    String separator = realm.getRawQuery() == null ? "?" : "&";
    return transport.get(
        origin,
        URI.create(realm + separator + query),
        Map.of(),
        uri -> login != null && HttpTransport.isSameServer(realm, uri) ? basic(login) : null);
  }

  private static String encode(String value) {
    return URLEncoder.encode(value, StandardCharsets.UTF_8);
  }

  private ImageException failed(String fault, @Nullable Throwable cause) {
    return new ImageException(
        ImageException.Reason.REGISTRY_FAULT,
        "Cannot log in to " + endpoint + ": " + fault,
        null,
        cause);
  }
}
