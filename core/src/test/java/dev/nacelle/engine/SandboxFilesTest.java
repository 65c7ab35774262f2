// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static dev.nacelle.agent.FakeFiles.data;
import static dev.nacelle.agent.FakeFiles.entry;
import static dev.nacelle.agent.FakeFiles.hole;
import static dev.nacelle.agent.FakeFiles.map;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.nacelle.DataSize;
import dev.nacelle.FileException;
import dev.nacelle.FileException.Reason;
import dev.nacelle.GuestFiles;
import dev.nacelle.GuestIOException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.agent.FakeFiles;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.files.FileInfo;
import dev.nacelle.files.FileType;
import dev.nacelle.files.TransferProgress;
import dev.nacelle.files.TreeCopy;
import dev.nacelle.files.WriteOptions;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.proto.agent.v1.FileEntry;
import dev.nacelle.proto.agent.v1.FileEntry.Type;
import dev.nacelle.proto.agent.v1.FilePart;
import dev.nacelle.proto.agent.v1.FileResponse;
import dev.nacelle.proto.agent.v1.FileTime;
import dev.nacelle.proto.agent.v1.WriteFile;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Files of a sandbox whose guest answers as the tests say. */
@Timeout(120)
@ExtendWith(NettyLeaks.class)
class SandboxFilesTest {
  private static final int NOT_DIRECTORY = 20;

  @TempDir Path directory;

  private FakeNacelle nacelle;
  private Sandbox sandbox;
  private GuestFiles files;
  private FakeFiles guest;

  @BeforeEach
  void start() {
    nacelle = new FakeNacelle();
    sandbox = nacelle.start();
    files = sandbox.files();
    guest = nacelle.machine().agent().files();
  }

  @AfterEach
  void close() {
    nacelle.close();
  }

  private static Reason reason(org.junit.jupiter.api.function.Executable call) {
    return assertThrows(FileException.class, call).reason();
  }

  @Test
  void aFileIsReadWithItsHoles() throws IOException {
    guest.answer("/f", entry(Type.REGULAR, ""), data("one"), hole(3), data("two"));
    byte[] expected = "one\0\0\0two".getBytes(UTF_8);
    assertArrayEquals(expected, files.read("/f"));
    Path copy = directory.resolve("copy");
    Files.writeString(copy, "what was there before");
    files.read("/f", copy);
    assertArrayEquals(expected, Files.readAllBytes(copy));
    try (InputStream in = files.open("/f")) {
      assertArrayEquals(expected, in.readAllBytes());
      assertEquals(-1, in.read());
    }
    assertEquals(1, directory.toFile().list().length);
  }

  @Test
  void anEmptyFileAndOneOfAHoleAloneAreRead() throws IOException {
    guest.answer("/empty", entry(Type.REGULAR, ""));
    guest.answer("/hole", entry(Type.REGULAR, ""), hole(5L << 30));
    assertEquals(0, files.read("/empty").length);
    Path copy = directory.resolve("hole");
    files.read("/hole", copy);
    assertEquals(5L << 30, Files.size(copy));
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "asks stat(1) for a file's blocks")
  void holesStayHolesOnTheHost() throws IOException {
    guest.answer("/f", entry(Type.REGULAR, ""), hole(5L << 30), data("x"), hole(5L << 30));
    Path copy = directory.resolve("copy");
    files.read("/f", copy);
    assertEquals((10L << 30) + 1, Files.size(copy));
    assertTrue(Long.parseLong(Tool.run(directory, "stat", "-c", "%b", "copy").strip()) < 100);
  }

  @Test
  void whatIsMoreThanTheLimitIsRefusedAndLeavesTheHostAsItWas() throws IOException {
    guest.answer("/f", entry(Type.REGULAR, ""), data("12345"));
    guest.answer("/hole", entry(Type.REGULAR, ""), hole(1L << 40));
    Path copy = directory.resolve("copy");
    Files.writeString(copy, "before");
    GuestFiles limited = files.withLimit(DataSize.bytes(4));
    assertEquals(Reason.TOO_LARGE, reason(() -> limited.read("/f")));
    assertEquals(Reason.TOO_LARGE, reason(() -> limited.read("/f", copy)));
    assertEquals(Reason.TOO_LARGE, reason(() -> files.read("/hole")));
    assertEquals(Reason.TOO_LARGE, reason(() -> files.read("/hole", copy)));
    assertEquals(Reason.TOO_LARGE, reason(() -> files.read(FakeFiles.ENDLESS)));
    assertEquals("before", Files.readString(copy));
    assertEquals(1, directory.toFile().list().length);
    assertEquals(5, files.withLimit(DataSize.bytes(5)).read("/f").length);
  }

  @Test
  void contentGoesWithZerosAsHoles() throws IOException {
    byte[] content = new byte[200_000];
    content[0] = 1;
    content[150_000] = 2;
    files.write("/a", content);
    assertArrayEquals(content, received());
    assertTrue(dataBytes() <= 2 * 4096 + 200_000 % 4096, () -> dataBytes() + " bytes of data");
    guest.received().clear();
    Path file = directory.resolve("content");
    Files.write(file, content);
    files.write("/a", file);
    assertArrayEquals(content, received());
    guest.received().clear();
    files.write("/a", new ByteArrayInputStream(content));
    assertArrayEquals(content, received());
    guest.received().clear();
    files.write("/a", new byte[8192], append());
    assertEquals(8192, dataBytes());
  }

  private static WriteOptions append() {
    return WriteOptions.builder().existing(WriteOptions.Existing.APPEND).build();
  }

  private byte[] received() {
    byte[] all = new byte[0];
    for (FilePart part : guest.received()) {
      int count = part.hasHole() ? (int) part.getHole() : part.getData().size();
      int start = all.length;
      all = java.util.Arrays.copyOf(all, start + count);
      if (part.hasData()) {
        part.getData().copyTo(all, start);
      }
    }
    return all;
  }

  private int dataBytes() {
    return guest.received().stream().mapToInt(part -> part.getData().size()).sum();
  }

  @Test
  void optionsReachTheGuest() {
    files.write(
        "/x",
        new byte[0],
        WriteOptions.builder()
            .permissions(04711)
            .owner(0xFFFF_FFFEL, 7)
            .atomic(true)
            .existing(WriteOptions.Existing.FAIL)
            .build());
    WriteFile write = guest.operations().get(0).getWrite();
    assertEquals(WriteFile.Existing.FAIL, write.getExisting());
    assertTrue(write.getAtomic());
    assertEquals(04711, write.getAttributes().getPermissions());
    assertEquals(-2, write.getAttributes().getUid());
    files.write("/x", new byte[0]);
    assertFalse(guest.operations().get(1).getWrite().getAttributes().hasPermissions());
    files.withTimeout(Duration.ofSeconds(7)).remove("/x");
    assertEquals(7_000_000_000L, guest.operations().get(2).getTimeoutNanos());
  }

  @Test
  void filesAreLookedAt() {
    FileEntry file =
        FileEntry.newBuilder()
            .setType(Type.SYMBOLIC_LINK)
            .setPermissions(0777)
            .setUid(-1)
            .setGid(5)
            .setLinkTarget(ByteString.copyFromUtf8("target"))
            .setLinks(2)
            .setAllocated(4096)
            .setModified(FileTime.newBuilder().setSeconds(-1).setNanos(5))
            .build();
    guest.answer("/d/link", FilePart.newBuilder().setEntry(file));
    FileInfo expected =
        FileInfo.builder("link")
            .type(FileType.SYMBOLIC_LINK)
            .permissions(0777)
            .owner(0xFFFF_FFFFL, 5)
            .size(0, 4096)
            .links(2)
            .modified(Instant.ofEpochSecond(-1, 5))
            .linkTarget("target")
            .build();
    assertEquals(expected, files.linkInfo("/d/link"));
    assertTrue(guest.operations().get(0).getStat().getNoFollow());
    assertEquals(Optional.of("target"), files.info("/d/link").linkTarget());
    assertFalse(guest.operations().get(1).getStat().getNoFollow());

    guest.answer("/d", entry(Type.REGULAR, "b"), entry(Type.DIRECTORY, "a"));
    assertEquals(List.of("a", "b"), files.list("/d").stream().map(FileInfo::name).toList());
    guest.fail("/none", 2, "no such file");
    guest.fail("/file/x", NOT_DIRECTORY, "not a directory");
    guest.fail("/circle", 40, "too many links");
    assertFalse(files.exists("/none"));
    assertFalse(files.exists("/file/x"));
    assertTrue(files.exists("/d/link"));
    assertEquals(Reason.LINKS, reason(() -> files.exists("/circle")));
  }

  @Test
  void namesThatAreNoTextStayWhatTheyAre() {
    FileEntry file =
        FileEntry.newBuilder()
            .setType(Type.REGULAR)
            .setPath(ByteString.copyFrom(new byte[] {'a', (byte) 0xFF, 'b'}))
            .build();
    guest.answer("/d", FilePart.newBuilder().setEntry(file));
    String name = files.list("/d").get(0).name();
    assertEquals("a\uDCFFb", name);
    files.remove("/d/" + name);
    assertArrayEquals(
        new byte[] {'/', 'd', '/', 'a', (byte) 0xFF, 'b'},
        guest.operations().get(1).getPath().toByteArray());
  }

  @Test
  void changesReachTheGuest() {
    files.makeDirectory("/d");
    files.makeDirectories("/d/e");
    files.move("/a", "/b");
    files.remove("/a");
    files.removeTree("/a");
    files.link("/new", "/old");
    files.symbolicLink("/new", "old");
    files.setPermissions("/a", 01777);
    files.setOwner("/a", 1, 2);
    files.setModified("/a", Instant.ofEpochSecond(3, 4));
    assertEquals(
        List.of(
            "MAKE_DIRECTORY",
            "MAKE_DIRECTORY",
            "MOVE",
            "REMOVE",
            "REMOVE",
            "LINK",
            "LINK",
            "SET_ATTRIBUTES",
            "SET_ATTRIBUTES",
            "SET_ATTRIBUTES"),
        guest.operations().stream().map(order -> order.getOperationCase().name()).toList());
    assertTrue(guest.operations().get(1).getMakeDirectory().getParents());
    assertTrue(guest.operations().get(4).getRemove().getRecursive());
    assertEquals("/old", guest.operations().get(5).getLink().getExisting().toStringUtf8());
    assertEquals("old", guest.operations().get(6).getLink().getSymbolicTarget().toStringUtf8());
    assertEquals(
        01777, guest.operations().get(7).getSetAttributes().getAttributes().getPermissions());
    assertEquals(
        4, guest.operations().get(9).getSetAttributes().getAttributes().getModified().getNanos());
  }

  @Test
  void whatIsNoPathIsRefusedHere() {
    for (String path : List.of("", "relative", "/nul\0", "/" + "x".repeat(4095), "/\uD800")) {
      assertThrows(IllegalArgumentException.class, () -> files.read(path), path);
      assertThrows(IllegalArgumentException.class, () -> files.move("/a", path), path);
    }
    assertThrows(IllegalArgumentException.class, () -> files.symbolicLink("/a", ""));
    assertThrows(IllegalArgumentException.class, () -> files.setPermissions("/a", 010000));
    assertThrows(IllegalArgumentException.class, () -> files.setOwner("/a", -1, 0));
    assertThrows(IllegalArgumentException.class, () -> files.setOwner("/a", 0, 0xFFFF_FFFFL));
    assertThrows(IllegalArgumentException.class, () -> files.withTimeout(Duration.ZERO));
    assertThrows(IllegalArgumentException.class, () -> append().toBuilder().atomic(true).build());
    assertEquals(List.of(), guest.operations());
  }

  @Test
  void eachErrorOfTheGuestHasItsReason() {
    Object[][] expected = {
      {2, Reason.NOT_FOUND},
      {17, Reason.EXISTS},
      {20, Reason.NOT_A_DIRECTORY},
      {21, Reason.IS_A_DIRECTORY},
      {6, Reason.NOT_A_REGULAR_FILE},
      {39, Reason.NOT_EMPTY},
      {40, Reason.LINKS},
      {13, Reason.NOT_PERMITTED},
      {30, Reason.NOT_PERMITTED},
      {28, Reason.NO_SPACE},
      {22, Reason.INVALID},
      {110, Reason.TIMED_OUT},
      {5, Reason.OTHER},
      {-7, Reason.OTHER},
    };
    for (Object[] pair : expected) {
      guest.fail("/f", (int) pair[0], "the kernel said so");
      FileException e = assertThrows(FileException.class, () -> files.read("/f"));
      assertEquals(pair[1], e.reason());
      assertEquals(Optional.of("/f"), e.path());
      assertTrue(e.getMessage().startsWith("The guest: the kernel said so"), e.getMessage());
    }
  }

  @Test
  void aFailureEndsAWriteThatIsStillSending() {
    guest.fail("/refused", 28, "no space");
    InputStream endless =
        new InputStream() {
          @Override
          public int read() {
            return 1;
          }

          @Override
          public int read(byte[] bytes, int offset, int length) {
            java.util.Arrays.fill(bytes, offset, offset + length, (byte) 1);
            return length;
          }
        };
    assertEquals(Reason.NO_SPACE, reason(() -> files.write("/refused", endless)));
  }

  @Test
  void whatFailsHereIsTheHostsAndEndsTheCall() {
    IOException broken = new IOException("the source broke");
    InputStream source =
        new InputStream() {
          @Override
          public int read() throws IOException {
            throw broken;
          }
        };
    FileException e = assertThrows(FileException.class, () -> files.write("/x", source));
    assertEquals(Reason.HOST_FILE, e.reason());
    assertSame(broken, e.getCause());
    guest.cancelled().join();
    assertEquals(Reason.HOST_FILE, reason(() -> files.write("/x", directory.resolve("none"))));
    guest.answer("/f", entry(Type.REGULAR, ""));
    assertEquals(Reason.HOST_FILE, reason(() -> files.read("/f", directory.resolve("none/f"))));
  }

  @Test
  void anInterruptEndsTheCall() throws Exception {
    CompletableFuture<Throwable> caught = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                files.read(FakeFiles.SILENT);
              } catch (Throwable e) {
                caught.complete(e);
              }
            });
    thread.start();
    while (guest.operations().isEmpty()) {
      Thread.onSpinWait();
    }
    thread.interrupt();
    assertTrue(caught.get(1, TimeUnit.MINUTES) instanceof InterruptedOperationException);
    guest.cancelled().get(1, TimeUnit.MINUTES);
  }

  @Test
  void anInterruptEndsAWriteThatTheGuestDoesNotTake() throws Exception {
    CompletableFuture<Throwable> caught = new CompletableFuture<>();
    byte[] much = new byte[8 << 20];
    java.util.Arrays.fill(much, (byte) 1);
    Thread thread =
        new Thread(
            () -> {
              try {
                files.write(FakeFiles.SILENT, much);
              } catch (Throwable e) {
                caught.complete(e);
              }
            });
    thread.start();
    while (thread.getState() != Thread.State.WAITING) {
      Thread.onSpinWait();
    }
    thread.interrupt();
    assertTrue(caught.get(1, TimeUnit.MINUTES) instanceof InterruptedOperationException);
    guest.cancelled().get(1, TimeUnit.MINUTES);
  }

  @Test
  void aGuestThatKeepsNoTimeIsGivenUp() {
    // The host adds five seconds to what the guest is to keep.
    FileException e =
        assertThrows(
            FileException.class,
            () -> files.withTimeout(Duration.ofMillis(1)).read(FakeFiles.SILENT));
    assertEquals(Reason.TIMED_OUT, e.reason());
  }

  @Test
  void theSandboxsEndEndsCalls() throws Exception {
    CompletableFuture<Throwable> caught = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                files.read(FakeFiles.SILENT);
              } catch (Throwable e) {
                caught.complete(e);
              }
            });
    thread.start();
    InputStream open = files.open(FakeFiles.ENDLESS);
    while (guest.operations().size() < 2) {
      Thread.onSpinWait();
    }
    sandbox.kill();
    assertTrue(caught.get(1, TimeUnit.MINUTES) instanceof SandboxEndedException);
    assertThrows(GuestIOException.class, () -> open.readAllBytes());
    assertThrows(SandboxEndedException.class, () -> files.read("/f"));
  }

  @Test
  void aStreamThatIsClosedEndsItsCall() throws Exception {
    InputStream in = files.open(FakeFiles.ENDLESS);
    assertEquals(100_000, in.readNBytes(100_000).length);
    in.close();
    assertThrows(GuestIOException.class, in::read);
    guest.cancelled().get(1, TimeUnit.MINUTES);
  }

  @Test
  void whatBreaksTheContractIsTheGuestsFault() {
    FileResponse nothing = FileResponse.getDefaultInstance();
    guest.answer("/two", entry(Type.REGULAR, ""), entry(Type.REGULAR, ""));
    guest.answer("/none");
    guest.answer("/data", data("x"));
    guest.answer("/negative", entry(Type.REGULAR, ""), hole(-1));
    guest.answerAll("/unknown", nothing);
    guest.answerAll("/silent-end");
    for (String path : List.of("/two", "/none", "/data", "/negative", "/unknown", "/silent-end")) {
      assertEquals(Reason.GUEST_MISBEHAVED, reason(() -> files.read(path)), path);
      assertEquals(
          Reason.GUEST_MISBEHAVED, reason(() -> files.read(path, directory.resolve("copy"))), path);
    }
    assertEquals(Reason.GUEST_MISBEHAVED, reason(() -> files.list("/data")));
    guest.answer("/removed", data("x"));
    assertEquals(Reason.GUEST_MISBEHAVED, reason(() -> files.remove("/removed")));
    assertEquals(0, directory.toFile().list().length);
  }

  @Test
  void progressIsTold() {
    List<TransferProgress> told = new ArrayList<>();
    GuestFiles listened =
        files.withListener(
            progress -> {
              told.add(progress);
              throw new IllegalStateException("a listener's own affair");
            });
    byte[] content = new byte[3 << 20];
    java.util.Arrays.fill(content, (byte) 1);
    listened.write("/x", content);
    assertEquals(3 << 20, told.get(told.size() - 1).bytes());
    assertEquals(OptionalLong.of(3 << 20), told.get(0).total());
    assertTrue(told.size() >= 3, told::toString);
  }

  @Test
  void aTreeComesToTheHostAndItsFailureLeavesNothing() throws IOException {
    guest.answer(
        "/t",
        entry(Type.DIRECTORY, ""),
        entry(Type.DIRECTORY, "a"),
        entry(Type.REGULAR, "a/one"),
        data("one"),
        entry(Type.FIFO, "fifo"));
    Path to = directory.resolve("to/new");
    TreeCopy copy = files.readTree("/t", to);
    assertEquals("one", Files.readString(to.resolve("a/one")));
    assertEquals(TreeCopy.of(3, 3, 1, List.of("fifo: a FIFO")), copy);

    guest.answer("/t", entry(Type.DIRECTORY, ""), entry(Type.REGULAR, "../out"), data("x"));
    Path other = directory.resolve("other");
    assertEquals(Reason.UNREPRESENTABLE, reason(() -> files.readTree("/t", other)));
    assertFalse(Files.exists(other));
    assertEquals(Reason.HOST_FILE, reason(() -> files.readTree("/t", to)));
    guest.fail("/none", 2, "no such directory");
    assertEquals(Reason.NOT_FOUND, reason(() -> files.readTree("/none", other)));
    assertFalse(Files.exists(other));
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "makes links and modes of POSIX")
  void aTreeGoesToTheGuest() throws IOException {
    Tool.script(
        directory,
        "mkdir -p t/a/b; printf one > t/a/one; ln t/a/one t/a/b/hard; ln -s ../one t/a/b/soft;"
            + " chmod 4750 t/a/one; chmod 1777 t/a; mkfifo t/fifo; touch -d @1000000000 t/a/one");
    files.writeTree("/t", directory.resolve("t"), 3, 4);
    List<String> entries =
        guest.received().stream()
            .filter(FilePart::hasEntry)
            .map(FilePart::getEntry)
            .map(
                e ->
                    e.getPath().toStringUtf8()
                        + " "
                        + e.getType()
                        + " "
                        + e.getUid()
                        + ":"
                        + e.getGid()
                        + " "
                        + e.getLinkTarget().toStringUtf8())
            .collect(Collectors.toList());
    assertEquals(" DIRECTORY 3:4 ", entries.get(0));
    assertEquals(6, entries.size());
    assertTrue(entries.contains("a/b/soft SYMBOLIC_LINK 3:4 ../one"), entries::toString);
    assertTrue(
        entries.contains("a/b/hard HARD_LINK 3:4 a/one")
            || entries.contains("a/one HARD_LINK 3:4 a/b/hard"),
        entries::toString);
    FileEntry one =
        guest.received().stream()
            .map(FilePart::getEntry)
            .filter(e -> e.getType() == Type.REGULAR)
            .findFirst()
            .orElseThrow();
    assertEquals(04750, one.getPermissions());
    assertEquals(1_000_000_000, one.getModified().getSeconds());
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "runs tar(1)")
  void aTarArchiveComesAndGoes() throws IOException {
    guest.answer(
        "/t",
        entry(Type.DIRECTORY, ""),
        entry(Type.DIRECTORY, "a"),
        FilePart.newBuilder()
            .setEntry(entry(Type.REGULAR, "a/one").getEntry().toBuilder().setSize(7)),
        data("one"),
        hole(2),
        entry(Type.SOCKET, "socket"),
        FilePart.newBuilder()
            .setEntry(
                entry(Type.HARD_LINK, "two").getEntry().toBuilder()
                    .setLinkTarget(ByteString.copyFromUtf8("a/one"))),
        FilePart.newBuilder()
            .setEntry(
                entry(Type.REGULAR, "n".repeat(200)).getEntry().toBuilder()
                    .setSize(3)
                    .setUid(-2)
                    .setModified(FileTime.newBuilder().setSeconds(5).setNanos(250_000_000))),
        data("grown since"));
    Path archive = directory.resolve("archive.tar");
    try (InputStream in = files.openTar("/t")) {
      Files.copy(in, archive);
    }
    String listing = Tool.run(directory, "tar", "-tvf", "archive.tar", "--numeric-owner");
    assertTrue(listing.contains("0/0               7 1970-01-01 00:00 ./a/one"), listing);
    assertTrue(listing.contains("link to ./a/one"), listing);
    assertTrue(listing.contains("4294967294/0"), listing);
    Tool.script(directory, "mkdir x; tar -xf archive.tar -C x --no-same-owner");
    assertArrayEquals(
        "one\0\0\0\0".getBytes(UTF_8), Files.readAllBytes(directory.resolve("x/two")));
    assertEquals("gro", Files.readString(directory.resolve("x/" + "n".repeat(200))));

    try (InputStream in = Files.newInputStream(archive)) {
      files.writeTar("/new", in);
    }
    List<String> paths =
        guest.received().stream()
            .filter(FilePart::hasEntry)
            .map(part -> part.getEntry().getPath().toStringUtf8())
            .toList();
    assertEquals(List.of("", "a", "a/one", "two", "n".repeat(200)), paths);
    assertEquals("a/one", guest.received().get(4).getEntry().getLinkTarget().toStringUtf8());

    Tool.script(directory, "tar -cPf out.tar ../../../../../../etc/hostname");
    try (InputStream in = Files.newInputStream(directory.resolve("out.tar"))) {
      assertEquals(Reason.HOST_FILE, reason(() -> files.writeTar("/new", in)));
    }
  }

  private static FilePart.Builder file(String path, long size) {
    return FilePart.newBuilder()
        .setEntry(entry(Type.REGULAR, path).getEntry().toBuilder().setSize(size));
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "runs tar(1)")
  void holesStayHolesInATarArchive() throws IOException {
    String name = "d/" + "n".repeat(200);
    guest.answer(
        "/t",
        entry(Type.DIRECTORY, ""),
        map(0L, 3L, 5L << 30, 4L),
        map(1L, 1L),
        file(name, (5L << 30) + (1 << 20)),
        data("one"),
        hole(5L << 30),
        data("four"),
        hole(1),
        data("x"),
        hole((1 << 20) - 9),
        map(),
        file("hole", 3L << 40),
        hole(3L << 40),
        file("plain", 2),
        data("ab"),
        // Which have changed since: have data where there were holes, end earlier, go on.
        map(512L, 512L, 512L, 100L),
        file("other", 3000),
        data("a".repeat(1800)),
        map(600L, 5L),
        file("longer", 700),
        data("b".repeat(1000)),
        data("b"),
        entry(Type.DIRECTORY, "last"));
    Path archive = directory.resolve("archive.tar");
    List<Long> told = new ArrayList<>();
    try (InputStream in =
        files.withListener(progress -> told.add(progress.bytes())).openTar("/t")) {
      Files.copy(in, archive);
    }
    assertTrue(guest.operations().get(0).getReadTree().getMaps());
    assertTrue(Files.size(archive) < 20_000, () -> archive + " is no sparse one");
    assertEquals((5L << 30) + (1 << 20) + (3L << 40) + 2 + 1800 + 700, told.get(told.size() - 1));
    Tool.script(directory, "mkdir x; tar -xf archive.tar -C x --no-same-owner");
    Path tree = directory.resolve("x");
    assertEquals("16", Tool.run(tree, "sh", "-c", "stat -c %b d/n*").strip());
    assertEquals("0", Tool.run(tree, "stat", "-c", "%b", "hole").strip());
    assertEquals(3L << 40, Files.size(tree.resolve("hole")));
    assertEquals("ab", Files.readString(tree.resolve("plain")));
    String holes = "\0".repeat(512);
    assertEquals(
        holes + "a".repeat(512) + holes + "a".repeat(264) + "\0".repeat(1200),
        Files.readString(tree.resolve("other")));
    assertEquals(holes + "b".repeat(188), Files.readString(tree.resolve("longer")));
    try (FileChannel file = FileChannel.open(tree.resolve(name))) {
      assertEquals((5L << 30) + (1 << 20), file.size());
      ByteBuffer bytes = ByteBuffer.allocate(20);
      file.read(bytes, 0);
      assertEquals("one" + "\0".repeat(17), new String(bytes.array(), UTF_8));
      file.read(bytes.clear(), 5L << 30);
      assertEquals("\0\0\0four\0x" + "\0".repeat(11), new String(bytes.array(), UTF_8));
    }
    assertTrue(Files.isDirectory(tree.resolve("last")));

    try (InputStream in = Files.newInputStream(archive)) {
      files.writeTar("/new", in);
    }
    long zeros = guest.received().stream().mapToLong(FilePart::getHole).sum();
    assertTrue(zeros > 3L << 40 && dataBytes() < 10_000, () -> zeros + " and " + dataBytes());
  }

  @Test
  void mapsThatCannotBeAreErrors() throws IOException {
    Long[] many = new Long[1 << 16];
    Arrays.fill(many, 1L);
    FilePart.Builder half = map(many);
    List<List<FilePart.Builder>> refused =
        List.of(
            List.of(map(0L), file("odd", 10)),
            List.of(map(0L, 11L), file("beyond", 10)),
            List.of(map(Long.MAX_VALUE, Long.MAX_VALUE), file("far", 10)),
            List.of(map(-1L, 2L), file("negative", 10)),
            List.of(map(0L, 1L), entry(Type.DIRECTORY, "directory")),
            List.of(map(0L, 1L), data("x")),
            List.of(map(0L, 1L)),
            List.of(half, half, map(1L, 1L), file("many", 1 << 20)),
            List.of(file("large", Long.MAX_VALUE)));
    for (List<FilePart.Builder> parts : refused) {
      List<FilePart.Builder> all = new ArrayList<>(parts);
      all.add(0, entry(Type.DIRECTORY, ""));
      guest.answer("/t", all.toArray(new FilePart.Builder[0]));
      try (InputStream in = files.openTar("/t")) {
        assertThrows(GuestIOException.class, in::readAllBytes, parts::toString);
      }
    }
    guest.answer("/t", entry(Type.DIRECTORY, ""), half, half, file("most", 1 << 20));
    try (InputStream in = files.openTar("/t")) {
      assertTrue(in.readAllBytes().length > 1 << 16);
    }
    guest.answer("/t", entry(Type.DIRECTORY, ""), map(0L, 1L), file("a", 10));
    assertEquals(
        Reason.GUEST_MISBEHAVED, reason(() -> files.readTree("/t", directory.resolve("tree"))));
  }
}
