// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.IdMapping;
import dev.nacelle.container.TimeNamespace;
import dev.nacelle.container.UserNamespace;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class StoredSourcesTest {
  @Test
  void aKernelIsToHaveWhatTheContainerTakes() {
    assertEquals(
        Set.of("SECCOMP_FILTER"), StoredSources.options(FakeNacelle.spec().build()).keySet());
    assertEquals(Set.of(), StoredSources.options(FakeNacelle.spec().privileged().build()).keySet());
    List<IdMapping> mappings = List.of(new IdMapping(0, 0, 1));
    ContainerSpec container =
        ContainerSpec.builder()
            .ownNetwork(true)
            .userNamespace(new UserNamespace(mappings, mappings))
            .timeNamespace(new TimeNamespace(Duration.ZERO, Duration.ZERO))
            .build();
    assertEquals(
        Set.of("NET_NS", "SECCOMP_FILTER", "TIME_NS", "USER_NS"),
        StoredSources.options(FakeNacelle.spec().container(container).build()).keySet());
  }
}
