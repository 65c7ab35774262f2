// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class ProgramSearchTest {
  @TempDir Path temp;

  /** What Windows searches is searched alike on Linux. */
  private Optional<Path> find(String name, String endings, Path... directories) {
    StringBuilder path = new StringBuilder("relative" + File.pathSeparator + File.pathSeparator);
    for (Path directory : directories) {
      path.append(directory).append(File.pathSeparator);
    }
    Map<String, String> environment = new HashMap<>();
    environment.put("PATH", path.toString());
    environment.put("PATHEXT", endings);
    return ProgramSearch.findOnPath(name, environment::get);
  }

  private Path program(String name) throws IOException {
    Path file = temp.resolve(name);
    Files.createDirectories(file.getParent());
    return Files.createFile(file);
  }

  @Test
  void theFirstDirectoryCountsAndInItTheFirstEnding() throws IOException {
    Path first = temp.resolve("first");
    Path second = temp.resolve("second");
    Path exe = program("second/tool.EXE");
    assertEquals(Optional.of(exe), find("tool", ".COM;.EXE", first, second));
    Path script = program("first/tool.CMD");
    assertEquals(Optional.of(script), find("tool", ".EXE;.CMD", first, second));
    Path other = program("first/tool.EXE");
    assertEquals(Optional.of(other), find("tool", ".EXE;.CMD", first, second));
    assertEquals(Optional.of(script), find("tool", ".CMD;.EXE", first, second));
  }

  @Test
  void withoutPathextTheUsualEndingsCount() throws IOException {
    Path exe = program("tool.EXE");
    assertEquals(Optional.of(exe), find("tool", "", temp));
  }

  @Test
  void whatHasNoneOfTheEndingsIsNoProgram() throws IOException {
    program("tool");
    program("tool.txt");
    Files.createDirectory(temp.resolve("tool.EXE"));
    assertEquals(Optional.empty(), find("tool", ".EXE", temp));
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = "Linux searches itself")
  void onWindowsAProgramIsFoundOrSaidToBeMissing() throws IOException {
    Path found = Path.of(ProgramSearch.find("cmd"));
    assertEquals("cmd.exe", found.getFileName().toString().toLowerCase(Locale.ROOT));
    assertEquals("C:\\a\\tool.exe", ProgramSearch.find("C:\\a\\tool.exe"));
    IOException e = assertThrows(IOException.class, () -> ProgramSearch.find("nacelle-absent"));
    assertEquals("there is no nacelle-absent on the PATH", e.getMessage());
  }
}
