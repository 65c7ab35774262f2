// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.ImageRef;
import dev.nacelle.isolation.example.MyIsolations;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PeerIsolationTest {
  @TempDir Path directory;

  private Isolation peer(String name, Map<String, Path> programs) {
    Setting setting =
        new Setting(directory.resolve("cache"), directory, programs, Duration.ofMinutes(5));
    return Isolations.all(setting, Path.of("/probe")).stream()
        .filter(one -> one.name().equals(name))
        .findFirst()
        .orElseThrow();
  }

  @Test
  void whoNamesNoProgramIsToldHow() throws IOException {
    for (String name : new String[] {"firecracker", "cloud-hypervisor"}) {
      Isolation peer = peer(name, Map.of());
      assertTrue(peer.unavailable().orElseThrow().contains("--" + name + " PATH"));
      peer.prepare(ImageRef.parse("example.test/nothing:1"));
      peer.close();
    }
  }

  @Test
  void whatIsNoProgramIsSaid() {
    Isolation peer = peer("firecracker", Map.of("firecracker", directory.resolve("absent")));
    String why = peer.unavailable().orElseThrow();
    assertTrue(why.contains("absent is no program"), why);
  }

  @Test
  void networksOfQemuAreMeasuredWhereTheyAreNamed() {
    Setting setting = new Setting(directory, directory, Map.of(), Duration.ofSeconds(1));
    List<String> unusual =
        Isolations.all(setting, Path.of("/probe")).stream()
            .filter(one -> !one.isUsual())
            .map(Isolation::name)
            .toList();
    assertEquals(
        List.of(
            "qemu-slirp", "qemu-passt", "qemu-passt-1500", "qemu-passt-vhost", MyIsolations.NAME),
        unusual);
  }

  @Test
  void versionIsWhatTheProgramSays() throws IOException {
    Path program =
        Files.createFile(
            directory.resolve("monitor"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x")));
    Files.writeString(program, "#!/bin/sh\necho \"Monitor v1 $1\"\necho more\n");
    assertEquals(
        "Monitor v1 --version, nacelle:6.12",
        peer("firecracker", Map.of("firecracker", program)).version());
    assertEquals(
        "Monitor v1 --version, debian:6.1",
        peer("cloud-hypervisor", Map.of("cloud-hypervisor", program)).version());
  }
}
