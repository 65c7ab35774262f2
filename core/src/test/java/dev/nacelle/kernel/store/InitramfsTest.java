// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.NacelleException;
import dev.nacelle.Stage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What cpio(1) finds in the archive. */
class InitramfsTest {
  private static final byte[] AGENT = "the agent".getBytes(StandardCharsets.US_ASCII);

  @TempDir Path directory;
  private Path archive;

  @BeforeEach
  void write() throws IOException {
    archive = directory.resolve("initramfs.cpio");
    Initramfs.write(
        archive,
        AGENT,
        List.of(
            new GuestModule("virtio_ring", new byte[] {1, 2, 3}, true, false),
            new GuestModule("vmw_vsock_virtio_transport", new byte[4096], true, false),
            new GuestModule("ext4", new byte[] {4}, false, false),
            new GuestModule("tun", new byte[2], false, true)));
  }

  private String cpio(String... arguments) throws IOException {
    String[] command = new String[arguments.length + 1];
    command[0] = "cpio";
    System.arraycopy(arguments, 0, command, 1, arguments.length);
    return new String(TestTools.pipe(Files.readAllBytes(archive), command), StandardCharsets.UTF_8);
  }

  @Test
  void itHoldsTheAgentTheConsoleAndTheModules() throws IOException {
    List<String> entries =
        cpio("--list", "--verbose", "--numeric-uid-gid", "--quiet")
            .lines()
            .map(line -> line.replaceAll(" +", " ").replaceFirst("(Jan 1 1970|Dec 31 1969) ", ""))
            .toList();
    assertEquals(
        List.of(
            "drwxr-xr-x 2 0 0 0 dev",
            "crw------- 1 0 0 5, 1 dev/console",
            "drwxr-xr-x 2 0 0 0 nacelle",
            "drwxr-xr-x 2 0 0 0 nacelle/modules.d",
            "-rw-r--r-- 1 0 0 3 nacelle/modules.d/00-virtio_ring.ko",
            "-rw-r--r-- 1 0 0 4096 nacelle/modules.d/01-vmw_vsock_virtio_transport.ko",
            "-rw-r--r-- 1 0 0 1 nacelle/modules.d/02-ext4.ko",
            "-rw-r--r-- 1 0 0 2 nacelle/modules.d/03-tun.ko",
            "-rw-r--r-- 1 0 0 150 nacelle/modules",
            "-rwxr-xr-x 1 0 0 9 init"),
        entries);
  }

  @Test
  void theListHasTheModulesInTheOrderOfLoadingWhereTheAgentCanDialAndWhatIsPromised()
      throws IOException {
    assertEquals(
        """
        /nacelle/modules.d/00-virtio_ring.ko
        /nacelle/modules.d/01-vmw_vsock_virtio_transport.ko

        /nacelle/modules.d/02-ext4.ko
        !/nacelle/modules.d/03-tun.ko
        """,
        cpio("--extract", "--to-stdout", "--quiet", "nacelle/modules"));
    assertEquals("the agent", cpio("--extract", "--to-stdout", "--quiet", "init"));
  }

  @Test
  void theDialMayNeedNoModule() throws IOException {
    Initramfs.write(archive, AGENT, List.of(new GuestModule("ext4", new byte[1], false, false)));
    assertEquals(
        "\n/nacelle/modules.d/00-ext4.ko\n",
        cpio("--extract", "--to-stdout", "--quiet", "nacelle/modules"));
  }

  @Test
  void theSameContentGivesTheSameBytes() throws IOException {
    byte[] first = Files.readAllBytes(archive);
    write();
    assertArrayEquals(first, Files.readAllBytes(archive));
    assertEquals(0, first.length % 512);
  }

  @Test
  void anAgentThatCouldNotRunIsRefused() {
    assertAgentRefused("it is no ELF file", AGENT);
    assertAgentRefused("it is no executable: its ELF type is 1", TestElf.module("name=x"));
    assertAgentRefused(
        "it is not statically linked",
        TestElf.of(Elf64.ET_EXEC).segment(Elf64.PT_INTERP, 0, new byte[16], 16).build());
  }

  private static void assertAgentRefused(String expected, byte[] content) {
    NacelleException e = assertThrows(NacelleException.class, () -> GuestAgentBinary.of(content));
    assertEquals(Stage.INITRAMFS, e.stage());
    assertTrue(e.getMessage().contains(expected), e.getMessage());
  }
}
