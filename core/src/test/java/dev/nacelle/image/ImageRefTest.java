// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import static dev.nacelle.Refusals.assertRefusedFor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.oci.Digests;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ImageRefTest {
  private static final String HEX =
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

  @ParameterizedTest
  @CsvSource({
    "oci:dir, dir,",
    "oci:/a/b, /a/b,",
    "oci:/a/b:latest, /a/b, latest",
    "oci:dir:v1.2-rc_3+x, dir, v1.2-rc_3+x",
    "oci:dir:docker.io/library/python:3.12, dir, docker.io/library/python:3.12",
    "oci:a@b, a@b,",
    "oci:a@b:tag, a@b, tag"
  })
  void aDirectoryMayHaveATag(String text, String directory, String tag) {
    ImageRef ref = ImageRef.parse(text);

    assertEquals(Path.of(directory), ref.path().orElseThrow());
    assertEquals(Optional.ofNullable(tag), ref.tag());
    assertEquals(text.replace(directory, Path.of(directory).toString()), ref.toString());
    assertEquals(ref, ImageRef.parse(ref.toString()));
  }

  @Test
  void aDirectoryMayHaveADigest() {
    ImageRef ref = ImageRef.parse("oci:dir@sha256:" + HEX);

    assertEquals(Path.of("dir"), ref.path().orElseThrow());
    assertEquals("sha256:" + HEX, ref.digest().orElseThrow().toString());
    assertEquals(ref, ImageRef.parse("oci:dir:tag").withDigest(ref.digest().orElseThrow()));
    assertEquals(
        "sha512:" + HEX + HEX,
        ImageRef.parse("oci:dir@sha512:" + HEX + HEX).digest().orElseThrow().toString());
  }

  @ParameterizedTest
  @CsvSource({
    "python, docker.io, library/python, latest",
    "python:3.12-slim, docker.io, library/python, 3.12-slim",
    "user/app, docker.io, user/app, latest",
    "docker.io/python, docker.io, library/python, latest",
    "index.docker.io/user/app:1, docker.io, user/app, 1",
    "ghcr.io/a/b/c/d:v1, ghcr.io, a/b/c/d, v1",
    "localhost/app, localhost, app, latest",
    "localhost:5000/app:1, localhost:5000, app, 1",
    "registry:5000/app, registry:5000, app, latest",
    "127.0.0.1:5000/a/b, 127.0.0.1:5000, a/b, latest",
    "[::1]:5000/app:1, [::1]:5000, app, 1",
    "[fe80::1]/app, [fe80::1], app, latest",
    "Registry/app, Registry, app, latest",
    "quay.io/a__b/c.d-e--f:_x.Y-z, quay.io, a__b/c.d-e--f, _x.Y-z"
  })
  void namesHaveDockersDefaults(String text, String registry, String repository, String tag) {
    ImageRef ref = ImageRef.parse(text);

    assertEquals(Optional.of(registry), ref.registry());
    assertEquals(Optional.of(repository), ref.repository());
    assertEquals(Optional.of(tag), ref.tag());
    assertEquals(registry + "/" + repository + ":" + tag, ref.toString());
    assertEquals(ref, ImageRef.parse(ref.toString()));
    assertEquals(ref.hashCode(), ImageRef.parse(ref.toString()).hashCode());
  }

  @ParameterizedTest
  @CsvSource({
    "oci:C:\\images\\x:tag, C:\\images\\x, tag",
    "oci:C:\\images\\x, C:\\images\\x,",
    "oci:d:/images/x:docker.io/library/python:3.12, d:/images/x, docker.io/library/python:3.12",
    "oci:C:\\:tag, C:\\, tag",
    "oci:\\\\server\\share\\x:tag, \\\\server\\share\\x, tag",
    "oci:images\\x:tag, images\\x, tag",
    "oci-archive:C:\\a b\\x.tar:tag, C:\\a b\\x.tar, tag",
    "docker-archive:C:\\x.tar:docker.io/a/b:1, C:\\x.tar, docker.io/a/b:1"
  })
  void aPathOfWindowsIsReadOnEverySystem(String text, String path, String tag) {
    ImageRef ref = ImageRef.parse(text);

    assertEquals(Path.of(path), ref.path().orElseThrow());
    assertEquals(Optional.ofNullable(tag), ref.tag());
    assertEquals(ref, ImageRef.parse(ref.toString()));
    if (tag == null) {
      assertEquals(ref, ImageRef.ociLayout(Path.of(path)));
      ImageRef pinned = ref.withDigest(Digests.sha256("x"));
      assertEquals(pinned, ImageRef.parse(pinned.toString()));
    }
  }

  @Test
  void aSingleLetterBeforeATagIsNoDrive() {
    assertEquals(Optional.of("images"), ImageRef.parse("oci:C:images").tag());
  }

  @Test
  void aNameMayHaveADigestWithOrWithoutATag() {
    ImageRef pinned = ImageRef.parse("ghcr.io/a/b@sha256:" + HEX);

    assertEquals(Optional.empty(), pinned.tag());
    assertEquals("ghcr.io/a/b@sha256:" + HEX, pinned.toString());
    ImageRef both = ImageRef.parse("app:1@sha256:" + HEX);
    assertEquals("docker.io/library/app:1@sha256:" + HEX, both.toString());
    assertEquals(both, ImageRef.parse("app:1").withDigest(both.digest().orElseThrow()));
    assertEquals(both, ImageRef.parse(both.toString()));
  }

  @ParameterizedTest
  @CsvSource({
    "oci-archive:/a/b.tar, /a/b.tar,",
    "oci-archive:b.tar:v1, b.tar, v1",
    "docker-archive:b.tar, b.tar,",
    "docker-archive:b.tar:docker.io/library/app:1, b.tar, docker.io/library/app:1"
  })
  void anArchiveMayHaveATag(String text, String file, String tag) {
    ImageRef ref = ImageRef.parse(text);

    assertEquals(Path.of(file), ref.path().orElseThrow());
    assertEquals(Optional.ofNullable(tag), ref.tag());
    assertEquals(Optional.empty(), ref.registry());
    assertEquals(text.replace(file, Path.of(file).toString()), ref.toString());
    assertEquals(ref, ImageRef.parse(text));
  }

  @Test
  void theNameInADockerArchiveHasDefaultsToo() {
    assertEquals(
        "docker-archive:b.tar:docker.io/library/app:latest",
        ImageRef.parse("docker-archive:b.tar:app").toString());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "''|name is missing|1",
        "docker://python|does not begin with|1",
        "OCI:dir|names are lower-case|1",
        "a/Python|names are lower-case|3",
        "a//b|part of the name is empty|3",
        "a/|part of the name is empty|3",
        "a/b c|is not allowed|4",
        "a/-b|is not made of|3",
        "a..b/c|is no host|3",
        "python:|is no tag|8",
        "python:.x|is no tag|8",
        "a.b:x/c|is no port|5",
        "a.b:65536/c|is no port|5",
        "a.b:0/c|is no port|5",
        "[::g]/c|no IPv6 address|1",
        "python@3|digest starts with sha256: or sha512:|8",
        "python@sha256:12|has 64 lower-case hexadecimal digits|8",
        "oci:|directory is missing|5",
        "oci::tag|directory is missing|5",
        "oci-archive:|file is missing|13",
        "docker-archive::x|file is missing|16",
        "dir:|directory is missing|5",
        "dir:a:b|a directory has no tag|6",
        "docker-archive:f:a/B|names are lower-case|20",
        "oci:dir:|is no tag|9",
        "oci:dir:a b|is no tag|9",
        "oci:dir:-x|is no tag|9",
        "oci:dir@sha256:12|has 64 lower-case hexadecimal digits|9",
        "oci:dir@sha1:12|starts with sha256: or sha512:|9"
      })
  void whatIsWrongAndWhereIsSaid(String text, String fault, int position) {
    String message =
        String.valueOf(
            assertThrows(IllegalArgumentException.class, () -> ImageRef.parse(text)).getMessage());

    assertTrue(message.contains(fault), message);
    assertTrue(message.contains("'" + text + "'"), message);
    assertTrue(message.contains("at character " + position + "."), message);
    assertTrue(message.contains("Write [HOST[:PORT]/]NAME"), message);
  }

  /** Seeded, so that a failure comes again. */
  @Test
  void whateverAFactoryTakesIsReadAgainFromWhatItPrints() {
    Digest digest = Digests.sha256("x");
    String[] parts = {
      "a", "B", "/", "//", ".", "..", ":", "@", "@sha256", HEX, " ", "é", "\n", "-"
    };
    Random random = new Random(1);
    int taken = 0;
    for (int i = 0; i < 10_000; i++) {
      StringBuilder path = new StringBuilder();
      for (int length = random.nextInt(6); length > 0; length--) {
        path.append(parts[random.nextInt(parts.length)]);
      }
      for (Function<Path, ImageRef> factory :
          List.<Function<Path, ImageRef>>of(
              ImageRef::ociLayout, ImageRef::ociArchive, ImageRef::dockerArchive)) {
        Path written;
        try {
          written = Path.of(path.toString());
        } catch (InvalidPathException refused) {
          continue;
        }
        ImageRef ref;
        try {
          ref = factory.apply(written);
        } catch (IllegalArgumentException refused) {
          assertTrue(path.isEmpty() || path.indexOf(":") >= 0, path::toString);
          continue;
        }
        taken++;
        assertEquals(written, ref.path().orElseThrow());
        assertEquals(ref, ImageRef.parse(ref.toString()));
        ImageRef pinned = ref.withDigest(digest);
        assertEquals(pinned, ImageRef.parse(pinned.toString()));
      }
    }
    assertTrue(taken > 5_000, "" + taken);
  }

  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "no path of Windows has such a colon")
  @ParameterizedTest
  @ValueSource(strings = {"/tmp/a:b", "a:", "a@sha256:" + HEX, ""})
  void aPathThatNoReferenceCanSayIsRefused(String path) {
    assertRefusedFor(
        "The path '" + path + "' cannot be that of an image: it is empty or has a colon",
        () -> ImageRef.ociLayout(Path.of(path)));
  }

  @Test
  void anImageIdIsNoName() {
    assertRefusedFor(
        "'" + HEX + "' is no image reference: the ID of an image is no name, at character 1",
        () -> ImageRef.parse(HEX));
  }

  @ParameterizedTest
  @ValueSource(strings = {"oci:dir:tag@sha256:", "oci:dir@sha256:", "oci:dir@sha256:X"})
  void halfDigestsAreRefused(String text) {
    int at = text.indexOf('@') + 2;
    for (String half : List.of(text, text + HEX.substring(1))) {
      assertRefusedFor(
          "'"
              + half.substring(at - 1)
              + "' is no digest: a sha256 digest has 64 lower-case hexadecimal digits, at character "
              + at,
          () -> ImageRef.parse(half));
    }
  }

  @Test
  void aTagAndADigestTogetherAreRefused() {
    assertRefusedFor(
        "it has both a tag, 'tag', and a digest, at character 9",
        () -> ImageRef.parse("oci:dir:tag@sha256:" + HEX));
  }

  @Test
  void longAndHostileTextIsRefusedQuickly() {
    assertRefusedFor("at character 7", () -> ImageRef.parse("oci:d:" + "a-".repeat(100_000)));
    assertRefusedFor("' is no path: ", () -> ImageRef.parse("oci:d\0"));
    for (String name : List.of("a".repeat(256), "a-".repeat(100_000) + "/b")) {
      assertRefusedFor("is longer than 255 characters", () -> ImageRef.parse(name));
    }
    assertRefusedFor(
        "is longer than 255 characters", () -> ImageRef.parse("a.".repeat(100_000) + "/b"));
    assertRefusedFor(
        "has 64 lower-case hexadecimal digits, at character 7",
        () -> ImageRef.parse("oci:d@sha256:" + HEX + "\n"));
  }

  @Test
  void basicVariantsOfPlatformsHaveOneName() {
    assertEquals(Platform.LINUX_AMD64, Platform.of("linux", "amd64", "v1"));
    assertEquals("linux/arm64", Platform.of("linux", "arm64", "v8").toString());
    assertEquals("linux/arm/v7", Platform.of("linux", "arm", "v7").toString());
  }
}
