// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ImageException;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** A directory as an image; takes root. */
class RootDirectoryTest {
  @TempDir Path temp;
  private Path tree;
  private ImageStore store;

  @BeforeEach
  void makeTree() throws IOException {
    tree = Files.createDirectory(temp.resolve("tree"));
    store = new ImageStore(temp.resolve("store"));
    if (OS.WINDOWS.isCurrentOs()) {
      return;
    }
    Tool.script(
        tree,
        """
        mkdir -p usr/bin etc empty 'dir with space'
        printf 'hello' > etc/motd; printf 'x' > usr/bin/tool
        chown 1000:4294967294 usr/bin/tool; chmod 4755 usr/bin/tool
        chmod 1777 'dir with space'
        ln -s usr/bin bin; ln -s /no/such/file absolute
        ln usr/bin/tool ztool
        mknod null c 1 3; mknod big b 259 1048575; mkfifo fifo
        touch "$(printf 'u\\303\\274')"; seq 100000 > etc/text
        touch "$(printf 'n%.0s' {1..200})"
        find . -exec touch -h -d '2022-03-04T05:06:07Z' {} +
        """);
  }

  private ResolvedImage resolve() {
    return store.resolve(ImageRef.directory(tree));
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "there is no such directory on Windows")
  void everythingOfTheDirectoryIsInTheImage() throws IOException {
    ResolvedImage image = resolve();
    MountedImage.check(image.filesystem());
    try (MountedImage mounted = MountedImage.mount(image.filesystem(), "ro")) {
      assertEquals("", TreeListing.of(tree).differences(TreeListing.of(mounted.root())));
    }
    assertEquals(List.of(), image.config().entrypoint());
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "there is no such directory on Windows")
  void whatIsTheSameIsTheSameImage() throws IOException {
    ResolvedImage image = resolve();
    assertEquals(image.digest(), resolve().digest());
    assertEquals(image.digest(), store.resolve(image.pinnedRef()).digest());
    Files.writeString(tree.resolve("etc/motd"), "other");
    assertNotEquals(image.digest(), resolve().digest());
    ImageException changed =
        assertThrows(ImageException.class, () -> store.resolve(image.pinnedRef()));
    assertEquals(ImageException.Reason.NOT_FOUND, changed.reason());
    try (var left = Files.list(temp.resolve("store"))) {
      assertTrue(left.noneMatch(file -> file.getFileName().toString().startsWith("root-")));
    }
  }

  @Test
  void whatIsNoDirectoryIsNamed() {
    ImageRef none = ImageRef.directory(temp.resolve("none"));
    assertEquals(
        ImageException.Reason.NOT_FOUND,
        assertThrows(ImageException.class, () -> store.resolve(none)).reason());
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "there is no such directory on Windows")
  void namesThatAreNotUtf8AreRefused() {
    Tool.script(tree, "touch \"$(printf 'no-\\377')\"");
    ImageException refused = assertThrows(ImageException.class, this::resolve);
    assertEquals(ImageException.Reason.UNSUPPORTED, refused.reason());
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = "of systems without owners and modes")
  void aSystemWithoutOwnersAndModesHasNone() {
    ImageException refused = assertThrows(ImageException.class, this::resolve);
    assertEquals(ImageException.Reason.UNSUPPORTED, refused.reason());
  }
}
