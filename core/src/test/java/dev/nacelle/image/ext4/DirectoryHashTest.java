// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.Tool;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DirectoryHashTest {
  @TempDir Path temp;

  @Test
  void agreesWithDebugfs() throws Exception {
    UUID seed = UUID.fromString("01234567-89ab-cdef-0123-456789abcdef");
    DirectoryHash hash = new DirectoryHash(Superblock.uuidBytes(Ext4Options.of(seed)));
    // Bytes below 128, for which the signed hash of debugfs and the unsigned one agree.
    List<String> names =
        List.of("a", "abc", "abcd", "abcde", "x".repeat(31), "y".repeat(32), "z".repeat(255));
    Path commands = temp.resolve("commands");
    StringBuilder script = new StringBuilder();
    for (String name : names) {
      script.append("dx_hash -h half_md4 -s ").append(seed).append(' ').append(name).append('\n');
    }
    Files.writeString(commands, script);

    String output = Tool.run(temp, "debugfs", "-f", commands.toString());

    for (String name : names) {
      long expected = hash.of(name.getBytes(US_ASCII));
      String line =
          String.format(
              "Hash of %s is 0x%x (minor 0x%x)", name, expected >>> 32, expected & 0xFFFF_FFFFL);
      assertTrue(output.contains(line), line + "\n" + output);
    }
    assertEquals(names.size(), output.split("Hash of", -1).length - 1);
  }
}
