// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class CacheDirectoryTest {
  @TempDir Path home;
  private final Map<String, String> environment = new HashMap<>();

  @BeforeEach
  void setVariablesOfBothSystems() {
    environment.put("XDG_CACHE_HOME", home.resolve("xdg").toString());
    environment.put("LOCALAPPDATA", home.resolve("local").toString());
  }

  private Path directory() {
    return CacheDirectory.of(environment::get, home);
  }

  @Test
  void isWhereXdgSays() {
    assertEquals(home.resolve("xdg/nacelle"), directory());
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "it is how Linux has it")
  void isInTheHomeDirectoryWhereXdgSaysNothingOfUse() {
    environment.put("XDG_CACHE_HOME", "relative");
    assertEquals(home.resolve(".cache/nacelle"), directory());
    environment.clear();
    assertEquals(home.resolve(".cache/nacelle"), directory());
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = "it is how Windows has it")
  void isBelowTheApplicationsDataOfThisMachine() {
    environment.put("XDG_CACHE_HOME", "/of/a/shell/for/Unix");
    assertEquals(home.resolve("local/nacelle"), directory());
    environment.clear();
    assertEquals(home.resolve("AppData/Local/nacelle"), directory());
  }
}
