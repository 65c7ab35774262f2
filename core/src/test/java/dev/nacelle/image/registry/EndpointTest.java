// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.RegistryOptions;
import java.net.URI;
import java.util.List;
import org.junit.jupiter.api.Test;

class EndpointTest {
  @Test
  void dockerIoIsAskedWhereItsApiIs() {
    ImageRef ref = ImageRef.parse("python:3.12");

    List<Endpoint> endpoints =
        Endpoint.of(
            RegistryOptions.defaults(),
            ref.registry().orElseThrow(),
            ref.repository().orElseThrow());

    assertEquals(1, endpoints.size());
    Endpoint docker = endpoints.get(0);
    assertEquals("docker.io", docker.host());
    URI manifest = docker.uri("manifests", "3.12");
    assertEquals("https://registry-1.docker.io/v2/library/python/manifests/3.12", "" + manifest);
    assertTrue(docker.isAt(manifest));
    for (String other :
        List.of(
            "https://docker.io/v2/",
            "http://registry-1.docker.io/v2/",
            "https://registry-1.docker.io:444/v2/",
            "https://auth.docker.io/token")) {
      assertFalse(docker.isAt(URI.create(other)), other);
    }
  }

  @Test
  void mirrorsOfDockerIoAreAskedWhereTheyAre() {
    RegistryOptions options =
        RegistryOptions.builder().mirrors("docker.io", "mirror.example:5000/hub").build();

    Endpoint mirror = Endpoint.of(options, "docker.io", "library/python").get(0);

    assertEquals(
        "https://mirror.example:5000/v2/hub/library/python/blobs/x", "" + mirror.uri("blobs", "x"));
  }
}
