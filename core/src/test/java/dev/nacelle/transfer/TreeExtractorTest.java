// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.FileException;
import dev.nacelle.FileException.Reason;
import dev.nacelle.agent.FileCall.Part;
import dev.nacelle.agent.FileEntry;
import dev.nacelle.agent.FileEntry.Kind;
import dev.nacelle.files.TreeCopy;
import dev.nacelle.image.testing.Tool;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What a hostile guest sends, on the host's disk. */
class TreeExtractorTest {
  private static final Instant TIME = Instant.ofEpochSecond(1_000_000_000, 123_000_000);

  @TempDir Path directory;
  private Path top;

  @BeforeEach
  void name() {
    top = directory.resolve("top");
  }

  private static Part file(Kind kind, String path, int permissions) {
    return new Part.Entry(FileEntry.of(kind, path, permissions, 0, 0, TIME));
  }

  private static Part file(String path) {
    return file(Kind.REGULAR_FILE, path, 0644);
  }

  private static Part directory(String path) {
    return file(Kind.DIRECTORY, path, 0755);
  }

  private static Part link(Kind kind, String path, String target) {
    return new Part.Entry(FileEntry.of(kind, path, 0777, 0, 0, TIME).withLinkTarget(target));
  }

  private static Part data(String text) {
    return new Part.Data(ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
  }

  private TreeCopy extract(Part... parts) throws IOException {
    return extract(false, 1000, 1 << 20, parts);
  }

  private TreeCopy extract(boolean windows, long maxFiles, long maxBytes, Part... parts)
      throws IOException {
    TreeExtractor extractor =
        new TreeExtractor(top, "/guest", maxFiles, new Meter("/guest", maxBytes, null), windows);
    boolean whole = false;
    try {
      extractor.accept(directory(""));
      for (Part part : parts) {
        extractor.accept(part);
      }
      TreeCopy copy = extractor.finish();
      whole = true;
      return copy;
    } finally {
      if (!whole) {
        extractor.abandon();
      }
    }
  }

  private FileException refused(boolean windows, Part... parts) {
    FileException e =
        assertThrows(FileException.class, () -> extract(windows, 1000, 1 << 20, parts));
    assertFalse(Files.exists(top, LinkOption.NOFOLLOW_LINKS), "something is left");
    return e;
  }

  @Test
  void filesComeWithContentTimesAndHarmlessPermissions() throws IOException {
    TreeCopy copy =
        extract(
            file(Kind.DIRECTORY, "d", 07500),
            file(Kind.REGULAR_FILE, "d/suid", 06755),
            data("one"),
            new Part.Hole(3),
            file(Kind.REGULAR_FILE, "closed", 0),
            link(Kind.HARD_LINK, "d/hard", "d/suid"));
    assertEquals(TreeCopy.of(5, 6, 0, List.of()), copy);
    assertEquals("one\0\0\0", Files.readString(top.resolve("d/hard")));
    assertEquals(TIME, Files.getLastModifiedTime(top.resolve("d")).toInstant());
    assertEquals(TIME, Files.getLastModifiedTime(top.resolve("d/suid")).toInstant());
    if (top.getFileSystem().supportedFileAttributeViews().contains("unix")) {
      assertEquals(0755, (int) Files.getAttribute(top.resolve("d/suid"), "unix:mode") & 07777);
      assertEquals(0700, (int) Files.getAttribute(top.resolve("d"), "unix:mode") & 07777);
      assertEquals(0600, (int) Files.getAttribute(top.resolve("closed"), "unix:mode") & 07777);
      assertEquals(2, Files.getAttribute(top.resolve("d/suid"), "unix:nlink"));
    }
  }

  @Test
  void noPathLeadsOut() {
    for (String path :
        List.of("../out", "/out", "d/../../out", "..", ".", "d/.", "d//x", "d/", "\0")) {
      assertEquals(Reason.UNREPRESENTABLE, refused(false, file(path)).reason(), path);
      assertEquals(Reason.UNREPRESENTABLE, refused(false, directory(path)).reason(), path);
    }
    assertEquals(Reason.UNREPRESENTABLE, refused(false, file("")).reason());
    for (String path : List.of("..\\out", "C:\\out", "a:stream", "nul")) {
      assertEquals(Reason.UNREPRESENTABLE, refused(true, file(path)).reason(), path);
    }
    assertEquals(0, directory.toFile().list().length);
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "makes symbolic links")
  void nothingIsWrittenThroughALink() throws IOException {
    Path outside = Files.createDirectory(directory.resolve("outside"));
    String absolute = outside.toString();
    assertEquals(
        Reason.UNREPRESENTABLE,
        refused(false, link(Kind.SYMBOLIC_LINK, "l", "d"), directory("d"), file("l")).reason());
    // What comes later makes a directory of the link's name, which the link then cannot have.
    assertEquals(
        Reason.UNREPRESENTABLE,
        refused(false, link(Kind.SYMBOLIC_LINK, "l", "d"), file("l/x"), data("x")).reason());
    TreeCopy copy = extract(link(Kind.SYMBOLIC_LINK, "l", absolute), file("l/x"), data("x"));
    assertEquals(1, copy.skippedCount());
    assertTrue(Files.isDirectory(top.resolve("l"), LinkOption.NOFOLLOW_LINKS));
    assertEquals(0, outside.toFile().list().length);
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "makes symbolic links")
  void linksComeAsFarAsTheyStayWithin() throws IOException {
    TreeCopy copy =
        extract(
            directory("a"),
            directory("a/b"),
            file("a/file"),
            link(Kind.SYMBOLIC_LINK, "a/b/up", "../file"),
            link(Kind.SYMBOLIC_LINK, "down", "./a/b"),
            link(Kind.SYMBOLIC_LINK, "dangling", "nothing/here"),
            link(Kind.SYMBOLIC_LINK, "a/top", ".."),
            link(Kind.SYMBOLIC_LINK, "absolute", "/etc/passwd"),
            link(Kind.SYMBOLIC_LINK, "out", "../etc/passwd"),
            link(Kind.SYMBOLIC_LINK, "a/b/far", "../../../x"),
            // By its text it stays within; by a/top it would not.
            link(Kind.SYMBOLIC_LINK, "sly", "a/top/../x"),
            link(Kind.SYMBOLIC_LINK, "empty", ""));
    assertEquals(5, copy.skippedCount());
    assertEquals(
        List.of("absolute", "out", "a/b/far", "sly", "empty"),
        copy.skipped().stream().map(s -> s.substring(0, s.indexOf(':'))).toList());
    assertEquals(Path.of("../file"), Files.readSymbolicLink(top.resolve("a/b/up")));
    assertEquals(Path.of(".."), Files.readSymbolicLink(top.resolve("a/top")));
    assertTrue(Files.isSymbolicLink(top.resolve("dangling")));
    assertFalse(Files.exists(top.resolve("absolute"), LinkOption.NOFOLLOW_LINKS));
  }

  @Test
  void hardLinksAreOfFilesThatCame() {
    Path secret = directory.resolve("secret");
    for (String target : List.of("../secret", "/etc/passwd", secret.toUri().getPath(), "")) {
      assertEquals(
          Reason.UNREPRESENTABLE,
          refused(false, link(Kind.HARD_LINK, "l", target)).reason(),
          target);
    }
    assertEquals(
        Reason.GUEST_MISBEHAVED, refused(false, link(Kind.HARD_LINK, "l", "none")).reason());
    assertEquals(
        Reason.GUEST_MISBEHAVED,
        refused(false, directory("d"), link(Kind.HARD_LINK, "l", "d")).reason());
  }

  @Test
  void whatComesTwiceIsAnError() {
    assertEquals(Reason.UNREPRESENTABLE, refused(false, file("a"), file("a")).reason());
    assertEquals(Reason.UNREPRESENTABLE, refused(false, file("a"), directory("a")).reason());
    assertEquals(Reason.UNREPRESENTABLE, refused(false, file("a"), file("a/b")).reason());
    assertEquals(
        Reason.UNREPRESENTABLE,
        refused(false, file("a"), file("b"), link(Kind.HARD_LINK, "b", "a")).reason());
  }

  @Test
  void contentHasAFile() {
    assertEquals(Reason.GUEST_MISBEHAVED, refused(false, data("x")).reason());
    assertEquals(Reason.GUEST_MISBEHAVED, refused(false, directory("d"), data("x")).reason());
    assertEquals(
        Reason.GUEST_MISBEHAVED, refused(false, directory("d"), new Part.Hole(1)).reason());
  }

  @Test
  void boundsHold() {
    for (long[] bounds : new long[][] {{3, 100}, {100, 7}}) {
      FileException e =
          assertThrows(
              FileException.class,
              () ->
                  extract(
                      false,
                      bounds[0],
                      bounds[1],
                      file("a"),
                      data("1234"),
                      file("b"),
                      new Part.Hole(4),
                      file("c")));
      assertEquals(Reason.TOO_LARGE, e.reason());
      assertFalse(Files.exists(top));
    }
    assertEquals(
        Reason.TOO_LARGE,
        refused(false, file("a"), new Part.Hole(Long.MAX_VALUE), new Part.Hole(Long.MAX_VALUE))
            .reason());
  }

  @Test
  void aDirectoryWithSomethingInItIsNotTouched() throws IOException {
    Files.createDirectory(top);
    Files.writeString(top.resolve("own"), "own");
    FileException e = assertThrows(FileException.class, () -> extract(file("own")));
    assertEquals(Reason.HOST_FILE, e.reason());
    assertEquals("own", Files.readString(top.resolve("own")));
    // One that is empty is the caller's, too, and stays.
    Files.delete(top.resolve("own"));
    assertThrows(FileException.class, () -> extract(file("a"), directory("b"), file("a")));
    assertEquals(0, top.toFile().list().length);
    extract(file("a"));
    assertTrue(Files.exists(top.resolve("a")));
  }

  @Test
  void devicesAndTheirLikeAreSkipped() throws IOException {
    TreeCopy copy =
        extract(
            file(Kind.CHARACTER_DEVICE, "null", 0666),
            file(Kind.BLOCK_DEVICE, "disk", 0666),
            file(Kind.FIFO, "fi\nfo\udcff", 0666),
            file(Kind.OTHER, "other", 0));
    assertEquals(4, copy.skippedCount());
    assertEquals("fi?fo?: a FIFO", copy.skipped().get(2));
    assertEquals(0, top.toFile().list().length);
  }

  /** Whatever comes, nothing is outside, and what fails leaves nothing. */
  @FuzzTest(maxDuration = "5m")
  void whateverComesStaysWithin(FuzzedDataProvider data) throws IOException {
    Path base = Files.createTempDirectory("nacelle-fuzz");
    try {
      Path outside = Files.createDirectory(base.resolve("outside"));
      top = base.resolve("a/top");
      try {
        int count = data.consumeInt(0, 12);
        Part[] parts = new Part[count];
        for (int i = 0; i < count; i++) {
          parts[i] = chosen(data, outside);
        }
        extract(parts);
        try (Stream<Path> all = Files.walk(top)) {
          for (Path path : (Iterable<Path>) all::iterator) {
            if (Files.exists(path) && !path.toRealPath().startsWith(top.toRealPath())) {
              throw new AssertionError(path + " leads to " + path.toRealPath());
            }
          }
        }
      } catch (FileException e) {
        if (Files.exists(top, LinkOption.NOFOLLOW_LINKS)) {
          throw new AssertionError("something is left", e);
        }
      }
      if (outside.toFile().list().length != 0 || base.resolve("a").toFile().list().length > 1) {
        throw new AssertionError("something is outside");
      }
    } finally {
      Tool.run(Path.of("/"), "rm", "-rf", base.toString());
    }
  }

  private static Part chosen(FuzzedDataProvider data, Path outside) {
    List<String> names =
        List.of("a", "b", "a/b", "a/b/c", "a/l", "l", "l/x", "..", "../outside/x", "a/../b", "");
    List<String> targets =
        List.of("a", "b", "..", "../..", "a/b", "a/../..", ".", "l", "a/l/../../x", "l/..", "");
    String name = data.pickValue(names);
    return switch (data.consumeInt(0, 6)) {
      case 0 -> directory(name);
      case 1 -> link(Kind.SYMBOLIC_LINK, name, data.pickValue(targets));
      case 2 -> link(Kind.SYMBOLIC_LINK, name, outside.toString());
      case 3 -> link(Kind.HARD_LINK, name, data.pickValue(targets));
      case 4 -> data("x");
      case 5 -> new Part.Hole(data.consumeInt(0, 5));
      default -> file(data.consumeBoolean() ? name : data.consumeString(8));
    };
  }
}
