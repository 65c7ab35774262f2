// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import java.io.File;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class KernelRefTest {
  private static final String DIGEST =
      "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

  @ParameterizedTest
  @ValueSource(
      strings = {
        "file:/boot/vmlinuz",
        "file:relative/vmlinux",
        "file:/with space@home/vmlinux",
        "deb:/tmp/linux-image.deb",
        "debian:6.1",
        "debian:6.12",
        "debian:6.12.117+deb12",
        "debian:6.1.0-56",
        "nacelle:6.12",
        "image:docker.io/linuxkit/kernel:6.6.13",
        "image:localhost:5000/kernel:latest",
        "image:oci:/srv/kernels",
        "image:oci-archive:/srv/kernel.tar",
        "image:docker-archive:/srv/kernel.tar",
      })
  void aReferenceAndItsPinnedFormReadAsTheyAreWritten(String slashes) {
    String text =
        slashes.matches("image:(docker.io|localhost).*") ? slashes : withSeparators(slashes);
    assertEquals(text, KernelRef.parse(text).toString());
    assertEquals(Optional.empty(), KernelRef.parse(text).digest());

    KernelRef pinned = KernelRef.parse(text + "@" + DIGEST);
    assertEquals(text + "@" + DIGEST, pinned.toString());
    assertEquals(Optional.of(Digest.parse(DIGEST)), pinned.digest());
    assertEquals(KernelRef.parse(text).withDigest(Digest.parse(DIGEST)), pinned);
    assertNotEquals(KernelRef.parse(text), pinned);
  }

  /** As paths are written on this system. */
  private static String withSeparators(String reference) {
    return reference.replace('/', File.separatorChar);
  }

  @ParameterizedTest
  @CsvSource({
    "file:C:\\boot\\vmlinux, C:\\boot\\vmlinux",
    "deb:c:/kernels/linux image.deb, c:/kernels/linux image.deb",
    "file:\\\\server\\share\\vmlinux, \\\\server\\share\\vmlinux",
    "image:oci:C:\\images\\k, C:\\images\\k"
  })
  void aPathOfWindowsIsReadOnEverySystem(String text, String path) {
    KernelRef ref = KernelRef.parse(text);
    Path read = ref.imageRef().flatMap(ImageRef::path).orElseGet(() -> Path.of(ref.name()));

    assertEquals(Path.of(path), read);
    assertEquals(ref, KernelRef.parse(ref.toString()));
    KernelRef pinned = KernelRef.parse(text + "@" + DIGEST);
    assertEquals(ref.withDigest(Digest.parse(DIGEST)), pinned);
  }

  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "no path of Windows has such a colon")
  @Test
  void aPathMayHaveColons() {
    String text = "file:/with:colon and space@home/vmlinux";
    assertEquals(text, KernelRef.parse(text).toString());
    assertEquals(
        text + "@" + DIGEST, KernelRef.parse(text).withDigest(Digest.parse(DIGEST)).toString());
  }

  @Test
  void factoriesMakeWhatParsingMakes() {
    assertEquals(KernelRef.parse("file:/vmlinux"), KernelRef.file(Path.of("/vmlinux")));
    assertEquals(KernelRef.parse("deb:/k.deb"), KernelRef.deb(Path.of("/k.deb")));
    assertEquals(KernelRef.parse("debian:6.1"), KernelRef.debian("6.1"));
    assertEquals(KernelRef.parse("debian:6.1").hashCode(), KernelRef.debian("6.1").hashCode());
    assertEquals(KernelRef.parse("nacelle:6.12"), KernelRef.nacelle("6.12"));
    assertEquals(KernelRef.parse("default"), KernelRef.defaultKernel());
    assertEquals("default", KernelRef.defaultKernel().toString());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "''                  | does not start with file:",
        "/boot/vmlinuz       | does not start with file:",
        "http://host/vmlinuz | does not start with file:",
        "file:               | the path is empty",
        "deb:                | the path is empty",
        "default:            | does not start with file:",
        "debian:             | no kernel series",
        "nacelle:6.12.117    | no kernel series",
        "nacelle:../6.12     | no kernel series",
        "nacelle:6.1@latest  | the pin is not sha256: and 64",
        "debian:6            | no kernel series",
        "debian:bookworm     | no kernel series",
        "debian:6.1 6.2      | no kernel series",
        "debian:6.1;reboot   | no kernel series",
        "debian:6.1@sha256:1 | the pin is not sha256: and 64",
        "debian:6.1@latest   | the pin is not sha256: and 64",
        "file:/k@sha256:XYZ  | the pin is not sha256: and 64",
        "image:              | the name is missing",
        "image:Kernel        | 'K': names are lower-case",
        "image:kernel@sha256:1 | a sha256 digest has 64",
        "image:oci:          | the directory is missing",
        "image:file:/vmlinuz | is no port",
      })
  void aBadReferenceIsRefusedByWhatIsWrongWithIt(String text, String expected) {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> KernelRef.parse(text));
    assertTrue(e.getMessage().contains(expected), e.getMessage());
  }

  @Test
  void aPinIsOfSha256() {
    Digest other = new Digest(Digest.Algorithm.SHA512, "0123456789abcdef".repeat(8));
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> KernelRef.debian("6.1").withDigest(other));
    assertEquals(
        "Bad kernel reference \"debian:6.1@"
            + other
            + "\": kernels are pinned by sha256 digests only",
        e.getMessage());
  }

  @Test
  void theDefaultCannotBePinned() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> KernelRef.defaultKernel().withDigest(Digest.parse(DIGEST)));
    assertTrue(e.getMessage().contains("no particular kernel"), e.getMessage());
  }

  @Test
  void anImageHasTheDefaultsOfImages() {
    KernelRef ref = KernelRef.parse("image:linuxkit/kernel");
    assertEquals("image:docker.io/linuxkit/kernel:latest", ref.toString());
    assertEquals(KernelRef.image(ImageRef.parse("linuxkit/kernel:latest")), ref);
  }

  @Test
  void thePinOfAnImageIsThatOfItsReference() {
    KernelRef byTag = KernelRef.parse("image:oci:/srv/kernels:6.6");
    // As in references of images: a layout is asked for a tag or a digest.
    assertEquals(
        withSeparators("image:oci:/srv/kernels@") + DIGEST,
        byTag.withDigest(Digest.parse(DIGEST)).toString());
    KernelRef untagged = KernelRef.parse("image:ghcr.io/kernel@" + DIGEST);
    assertEquals(Optional.of(Digest.parse(DIGEST)), untagged.digest());
    assertEquals(untagged, KernelRef.parse(untagged.toString()));
    String other = DIGEST.replace('0', '1');
    assertEquals(
        "image:ghcr.io/kernel@" + other, untagged.withDigest(Digest.parse(other)).toString());

    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> KernelRef.parse("image:kernel@sha512:" + "0123456789abcdef".repeat(8)));
    assertTrue(e.getMessage().contains("sha256 digests only"), e.getMessage());
  }

  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "no path of Windows has such a colon")
  @ParameterizedTest
  @ValueSource(strings = {"/k@" + DIGEST, "/k@sha256:", "k@sha256:1"})
  void aPathWhoseEndReadsAsAPinIsRefused(Path path) {
    for (Function<Path, KernelRef> factory :
        List.<Function<Path, KernelRef>>of(
            KernelRef::file,
            KernelRef::deb,
            // Pinned or not: what is in front of the pin is such a path.
            p -> KernelRef.parse("file:" + p + "@" + DIGEST),
            p -> KernelRef.parse("deb:" + p + "@" + DIGEST))) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> factory.apply(path));
      assertTrue(e.getMessage().contains("would read as a pin"), e.getMessage());
    }
    KernelRef other = KernelRef.file(Path.of(path + "/vmlinux"));
    assertEquals(other, KernelRef.parse(other.toString()));
  }

  @Test
  void aPathThatCannotBeIsRefused() {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> KernelRef.parse("file:/boot\0/vmlinuz"));
    assertTrue(e.getMessage().contains("no path"), e.getMessage());
  }
}
