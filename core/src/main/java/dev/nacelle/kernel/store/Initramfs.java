// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * The initial filesystem of the utility virtual machine: the agent as /init, a console, and the
 * modules with the list of their paths, one a line, in the order of loading. Behind an empty line
 * are those that the agent's dial does without; '!' stands before those without which the sandbox
 * is not to start. Not compressed: reading costs the host less than unpacking costs the guest.
 */
final class Initramfs {
  private Initramfs() {}

  /** {@code modules} in the order of loading, those for the dial first. */
  static void write(Path file, byte[] agent, List<GuestModule> modules) throws IOException {
    try (CpioWriter cpio =
        new CpioWriter(new BufferedOutputStream(Files.newOutputStream(file), 1 << 16))) {
      cpio.directory("dev", 0755);
      // init's stdin, stdout and stderr (the kernel opens it before anything could mount /dev).
      cpio.characterDevice("dev/console", 0600, 5, 1);
      cpio.directory("nacelle", 0755);
      cpio.directory("nacelle/modules.d", 0755);
      StringBuilder list = new StringBuilder();
      boolean dialled = false;
      for (int number = 0; number < modules.size(); number++) {
        GuestModule module = modules.get(number);
        if (!module.forDial() && !dialled) {
          dialled = true;
          list.append('\n');
        }
        String path = String.format("nacelle/modules.d/%02d-%s.ko", number, module.name());
        cpio.file(path, 0644, module.content());
        list.append(module.promised() ? "!/" : "/").append(path).append('\n');
      }
      cpio.file("nacelle/modules", 0644, list.toString().getBytes(StandardCharsets.UTF_8));
      cpio.file("init", 0755, agent);
    }
  }
}
