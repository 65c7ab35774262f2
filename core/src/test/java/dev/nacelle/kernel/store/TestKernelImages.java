// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.FileCache;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * OCI images that are laid out as LinuxKit's kernel images are, made by umoci of Debian's packages
 * and kept beside {@link TestKernels}.
 */
public final class TestKernelImages {
  private TestKernelImages() {}

  /**
   * An OCI image layout with that kernel, its modules and its configuration, tagged "latest".
   *
   * @param kernel one of {@link TestKernels}
   */
  public static Path layout(ResolvedKernel kernel) throws IOException {
    Path tree = TestKernels.modulesTree(kernel);
    Path layouts = TestKernels.CACHE.resolve("kernel-images");
    Files.createDirectories(layouts);
    Path layout = layouts.resolve(kernel.sha256());
    new FileCache(layouts)
        .get(
            kernel.sha256() + ".done",
            done ->
                Tool.script(
                    layouts,
                    """
                    layout=%1$s tree=%2$s release=%3$s
                    work=$(mktemp -d)
                    trap 'rm -rf "$work"' EXIT
                    headers=usr/src/linux-headers-$release
                    mkdir -p "$work/$headers"
                    cp "$tree/boot/config-$release" "$work/$headers/.config"
                    tar -cf "$work/kernel.tar" -C "$tree" ./lib/modules
                    tar -cf "$work/kernel-dev.tar" -C "$work" usr/src
                    rm -rf "$layout"
                    umoci init --layout "$layout"
                    umoci new --image "$layout:latest"
                    umoci insert --image "$layout:latest" "$tree/boot/vmlinuz-$release" /kernel
                    umoci insert --image "$layout:latest" "$work/kernel.tar" /kernel.tar
                    umoci insert --image "$layout:latest" "$work/kernel-dev.tar" /kernel-dev.tar
                    """
                        .formatted(layout, tree, kernel.version())));
    return layout;
  }
}
