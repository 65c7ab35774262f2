// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.image.RegistryOptions;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One place that may have a repository: a mirror, or the registry itself.
 *
 * @param host {@code HOST[:PORT]} as in references
 * @param base of the API, without a slash at the end
 * @param repository its name there
 */
record Endpoint(String host, URI base, String repository) {
  private static final String DOCKER = "docker.io";

  private static final Pattern API_PATH = Pattern.compile("/v2/(.+)/(?:manifests|blobs)/[^/]+");

  /** Where the API of docker.io is; that name itself is a web site. */
  private static final String DOCKER_API = "registry-1.docker.io";

  /** The mirrors in their order, then the registry. */
  static List<Endpoint> of(RegistryOptions options, String registry, String repository) {
    List<Endpoint> endpoints = new ArrayList<>();
    for (String mirror : options.mirrors(registry)) {
      String[] parts = mirror.split("/", 2);
      endpoints.add(
          at(options, parts[0], parts.length == 1 ? repository : parts[1] + "/" + repository));
    }
    endpoints.add(at(options, registry, repository));
    return endpoints;
  }

  private static Endpoint at(RegistryOptions options, String host, String repository) {
    String scheme = options.isPlainHttp(host) ? "http" : "https";
    String api = host.equals(DOCKER) ? DOCKER_API : host;
    return new Endpoint(host, URI.create(scheme + "://" + api), repository);
  }

  /**
   * The registry that another one refers to.
   *
   * @param uri in it
   * @param from the other one, whose repository it is where the address says no other
   */
  static Endpoint referred(URI uri, Endpoint from) {
    String server = uri.getHost() + (uri.getPort() < 0 ? "" : ":" + uri.getPort());
    Matcher path = API_PATH.matcher(uri.getRawPath());
    return new Endpoint(
        server.equals(DOCKER_API) ? DOCKER : server,
        URI.create(uri.getScheme() + "://" + server),
        path.matches() ? path.group(1) : from.repository);
  }

  /** "Pulling manifests" and "Pulling blobs" of the distribution specification. */
  URI uri(String kind, String reference) {
    return base.resolve("/v2/" + repository + "/" + kind + "/" + reference);
  }

  /** Whether that is this server, so that it may be told this server's secrets. */
  boolean isAt(URI uri) {
    return HttpTransport.isSameServer(base, uri);
  }

  @Override
  public String toString() {
    return host;
  }
}
