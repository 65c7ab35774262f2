// SPDX-License-Identifier: Apache-2.0
package consumer;

import dev.nacelle.DataSize;
import dev.nacelle.HypervisorUnavailableException;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import java.io.IOException;
import java.io.InputStream;
import java.lang.module.ModuleDescriptor.Requires;
import java.lang.module.ResolvedModule;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.jar.JarInputStream;
import java.util.stream.Stream;

/**
 * Takes the library as far as this host lets it: {@code IMAGE-LAYOUT CACHE}, of which the second is
 * what XDG_CACHE_HOME says. Boots where it can; elsewhere everything is made ready, and the start is
 * refused for a reason that is told.
 */
public final class Main {
  private Main() {}

  public static void main(String[] arguments) throws IOException {
    Path cache = Path.of(arguments[1]);
    requireDeclaredModuleNames();
    boolean usable = false;
    boolean kvm = false;
    for (var check : Nacelle.checkHost()) {
      System.out.println("host check by " + check.hypervisor() + ": usable " + check.usable());
      usable |= check.usable();
      kvm |= check.hypervisor().equalsIgnoreCase("kvm");
    }
    require(kvm, "no hypervisor on KVM was found");

    SandboxSpec spec =
        SandboxSpec.builder()
            .image("oci:" + arguments[0])
            .memory(DataSize.mebibytes(128))
            .build();
    Nacelle.builder().prepare(spec);
    require(holds(cache, ".vmlinux"), "no kernel was unpacked");
    require(holds(cache, ".cpio"), "no initramfs was made");
    System.out.println("prepared " + spec);

    try (Nacelle nacelle = Nacelle.create();
        Sandbox sandbox = nacelle.start(spec)) {
      System.out.print("booted: " + sandbox.exec("/bin/busybox", "uname", "-sr").stdout());
    } catch (HypervisorUnavailableException e) {
      require(!usable, "a usable host refuses: " + e.getMessage());
      require(e.getMessage().contains("kvm") || e.getMessage().contains("KVM"), e.getMessage());
      System.out.println("refused: " + e.getMessage().lines().findFirst().orElse(""));
    }
    System.out.println("consumer: OK");
  }

  private static boolean holds(Path directory, String ending) throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      return files.anyMatch(file -> file.toString().endsWith(ending));
    }
  }

  /**
   * On the module path: no module of Nacelle's requires one whose name is made of a file's, which
   * changes with whoever renames the file.
   */
  private static void requireDeclaredModuleNames() throws IOException {
    List<String> named = new ArrayList<>();
    for (ResolvedModule module : ModuleLayer.boot().configuration().modules()) {
      if (!module.name().startsWith("dev.nacelle")) {
        continue;
      }
      named.add(module.name());
      for (Requires required : module.reference().descriptor().requires()) {
        var found = ModuleLayer.boot().configuration().findModule(required.name());
        if (found.isPresent() && found.get().reference().descriptor().isAutomatic()) {
          Path jar = Path.of(found.get().reference().location().orElseThrow());
          require(declaresItsName(jar), module.name() + " requires the name of a file: " + jar);
        }
      }
    }
    System.out.println(named.isEmpty() ? "on the class path" : "on the module path: " + named);
  }

  private static boolean declaresItsName(Path jar) throws IOException {
    try (InputStream file = Files.newInputStream(jar);
        JarInputStream in = new JarInputStream(file)) {
      return in.getManifest() != null
          && in.getManifest().getMainAttributes().getValue("Automatic-Module-Name") != null;
    }
  }

  private static void require(boolean condition, String otherwise) {
    if (!condition) {
      throw new IllegalStateException(otherwise);
    }
  }
}
