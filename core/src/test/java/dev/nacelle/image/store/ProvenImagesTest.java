// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.RegistryCredentials;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.ProvenImage;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Images that came by way of a registry with a password and TLS look as umoci unpacks them: type,
 * mode, owner, size, mtime, content, extended attributes, device numbers, and which paths are one
 * inode. The filesystem must be clean, too. Takes root.
 *
 * <p>The store with the images stays, and beside it what a program in umoci's tree sees of it:
 * ProvenImagesBootTest boots what was compared here.
 */
@Tag("boot-images")
class ProvenImagesTest {
  private static RegistryServer registry;
  private static ImageStore store;

  @BeforeAll
  static void open(@TempDir Path directory) throws IOException {
    registry = RegistryServer.secure(directory);
    Tool.run(directory, "rm", "-rf", ProvenImage.CACHE.toString());
    store =
        new ImageStore(
            ProvenImage.CACHE.resolve("images"),
            ImageLimits.DEFAULT,
            RegistryOptions.builder()
                .credentialFiles()
                .certificates(registry.host(), registry.certificate())
                .credentials(
                    registry.host(),
                    RegistryCredentials.password(RegistryServer.USER, RegistryServer.PASSWORD))
                .build());
  }

  @AfterAll
  static void close() throws IOException {
    registry.close();
  }

  @ParameterizedTest
  @EnumSource
  void looksAsUmociUnpacksIt(ProvenImage image, @TempDir Path temp) throws IOException {
    Path layout = image.make(temp);
    String name = "private/" + image.name().toLowerCase(Locale.ROOT) + ":1";
    registry.push("oci:" + layout + ":latest", name);
    Path bundle = temp.resolve("bundle");
    Path rootfs = bundle.resolve("rootfs");
    try {
      Tool.run(temp, "umoci", "unpack", "--image", layout + ":latest", bundle.toString());
      for (String path : image.implied()) {
        // umoci gives it the time of unpacking, which cannot be the same twice, the store 1970
        Tool.run(rootfs, "touch", "-d", "@0", path);
      }

      ResolvedImage resolved = store.resolve(ImageRef.parse(registry.host() + "/" + name));

      MountedImage.check(resolved.filesystem());
      TreeListing expected = TreeListing.of(rootfs);
      image.expect(expected);
      try (MountedImage mounted = MountedImage.mount(resolved.filesystem(), "ro")) {
        assertEquals("", expected.differences(TreeListing.of(mounted.root())));
      }

      List<String> program = new ArrayList<>(List.of("chroot", rootfs.toString()));
      program.addAll(image.program());
      Files.writeString(image.listing(), Tool.run(temp, program), ISO_8859_1);
      Files.writeString(image.reference(), resolved.pinnedRef().toString());
    } finally {
      // Java's own walk knows no names that are not UTF-8.
      Tool.run(temp, "sh", "-c", "rm -rf -- *");
    }
  }
}
