// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * With what to log in to a registry. Immutable; {@link #toString} shows no secret.
 *
 * @see RegistryOptions.Builder#credentials
 */
public final class RegistryCredentials {
  /** What the secret is. More may be added: a {@code switch} has a default. */
  public enum Kind {
    /** A password, or an access token in place of one, together with a user name. */
    PASSWORD,
    /** An OAuth2 refresh token, which the registry's token service turns into access tokens. */
    IDENTITY_TOKEN,
    /** A bearer token that the registry takes as it is. */
    REGISTRY_TOKEN
  }

  private final Kind kind;
  private final String username;
  private final String secret;

  private RegistryCredentials(Kind kind, String username, String secret) {
    this.kind = kind;
    this.username = Objects.requireNonNull(username);
    this.secret = Objects.requireNonNull(secret);
  }

  /** A user name and a password, or an access token in place of one. */
  public static RegistryCredentials password(String username, String password) {
    return new RegistryCredentials(Kind.PASSWORD, username, password);
  }

  /** An identity token: "identitytoken" in Docker's config.json. */
  public static RegistryCredentials identityToken(String token) {
    return new RegistryCredentials(Kind.IDENTITY_TOKEN, "", token);
  }

  /** A bearer token: "registrytoken" in Docker's config.json. */
  public static RegistryCredentials registryToken(String token) {
    return new RegistryCredentials(Kind.REGISTRY_TOKEN, "", token);
  }

  /** What the secret is. */
  public Kind kind() {
    return kind;
  }

  /** The user name; empty where there is none. */
  public String username() {
    return username;
  }

  /** The password or token. */
  public String secret() {
    return secret;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof RegistryCredentials that
        && kind == that.kind
        && username.equals(that.username)
        && secret.equals(that.secret);
  }

  @Override
  public int hashCode() {
    return Objects.hash(kind, username, secret);
  }

  /** Without the secret. */
  @Override
  public String toString() {
    return kind == Kind.PASSWORD ? "password of '" + username + "'" : kind.toString();
  }
}
