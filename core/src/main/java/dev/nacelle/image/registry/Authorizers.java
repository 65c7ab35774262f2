// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import java.net.URI;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Who is told what on the way to one endpoint: it, and the registries that it redirects to, each of
 * which is logged in to with what is configured for itself, or nothing. Safe for use from several
 * threads.
 */
final class Authorizers {
  /** More than redirect to each other for a reason. */
  private static final int MAX_OTHERS = 16;

  private final Endpoint endpoint;
  private final HttpTransport transport;
  private final CredentialLookup lookup;
  private final Authorizer own;
  private final Map<Endpoint, Authorizer> others = new HashMap<>(); // guarded by this

  Authorizers(Endpoint endpoint, HttpTransport transport, CredentialLookup lookup) {
    this.endpoint = endpoint;
    this.transport = transport;
    this.lookup = lookup;
    this.own = new Authorizer(endpoint, transport, lookup);
  }

  /** That of the endpoint. */
  Authorizer own() {
    return own;
  }

  /**
   * The header for a server on the way; null for none. An address with a signature of its own, as
   * of a store behind the same server, is refused where it comes with another authorization.
   */
  @Nullable String header(URI uri) {
    if (!uri.getRawPath().startsWith("/v2/") && uri.getRawQuery() != null) {
      return null;
    }
    if (endpoint.isAt(uri)) {
      return own.current();
    }
    synchronized (this) {
      Authorizer other = others.get(Endpoint.referred(uri, endpoint));
      return other == null ? null : other.current();
    }
  }

  /** That of a server that answered; null where there are too many. */
  synchronized @Nullable Authorizer of(URI uri) {
    if (endpoint.isAt(uri)) {
      return own;
    }
    Endpoint referred = Endpoint.referred(uri, endpoint);
    if (!others.containsKey(referred) && others.size() < MAX_OTHERS) {
      others.put(referred, new Authorizer(referred, endpoint, transport, lookup));
    }
    return others.get(referred);
  }
}
