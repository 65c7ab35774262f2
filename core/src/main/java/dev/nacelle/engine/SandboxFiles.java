// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataSize;
import dev.nacelle.FileException;
import dev.nacelle.FileException.Reason;
import dev.nacelle.GuestFiles;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.FileCall;
import dev.nacelle.agent.FileCall.Part;
import dev.nacelle.agent.FileEntry;
import dev.nacelle.agent.FileFailedException;
import dev.nacelle.agent.FileOrder;
import dev.nacelle.files.FileInfo;
import dev.nacelle.files.FileType;
import dev.nacelle.files.TransferListener;
import dev.nacelle.files.TreeCopy;
import dev.nacelle.files.WriteOptions;
import dev.nacelle.internal.FileReplacement;
import dev.nacelle.internal.RegularFile;
import dev.nacelle.transfer.ContentSender;
import dev.nacelle.transfer.ContentWriter;
import dev.nacelle.transfer.FileInput;
import dev.nacelle.transfer.Meter;
import dev.nacelle.transfer.TarInput;
import dev.nacelle.transfer.TarSender;
import dev.nacelle.transfer.TreeExtractor;
import dev.nacelle.transfer.TreeSender;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.BiConsumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Files of a sandbox's guest. */
final class SandboxFiles implements GuestFiles {
  private static final Duration LONGEST = Duration.ofDays(36_525);

  /** What the host grants the guest beyond a deadline that the guest is to keep. */
  private static final Duration MARGIN = Duration.ofSeconds(5);

  private static final int MAX_LISTED = 100_000;
  private static final long MAX_ID = 0xFFFF_FFFEL;

  private final GuestCalls calls;
  private final AgentClient client;
  private final BiConsumer<FileOrder, CompletableFuture<Void>> onCall;
  private final @Nullable Duration timeout;
  private final @Nullable DataSize limit;
  private final @Nullable TransferListener listener;

  /**
   * @param onCall gets of each call, before it is made, what completes when it is no more
   */
  SandboxFiles(
      GuestCalls calls, AgentClient client, BiConsumer<FileOrder, CompletableFuture<Void>> onCall) {
    this(calls, client, onCall, null, null, null);
  }

  private SandboxFiles(
      GuestCalls calls,
      AgentClient client,
      BiConsumer<FileOrder, CompletableFuture<Void>> onCall,
      @Nullable Duration timeout,
      @Nullable DataSize limit,
      @Nullable TransferListener listener) {
    this.calls = calls;
    this.client = client;
    this.onCall = onCall;
    this.timeout = timeout;
    this.limit = limit;
    this.listener = listener;
  }

  @Override
  public GuestFiles withTimeout(Duration timeout) {
    if (timeout.isNegative() || timeout.isZero() || timeout.compareTo(LONGEST) > 0) {
      throw new IllegalArgumentException(
          "the timeout is not between 1 ns and 100 years: " + timeout);
    }
    return new SandboxFiles(calls, client, onCall, timeout, limit, listener);
  }

  @Override
  public GuestFiles withLimit(DataSize limit) {
    return new SandboxFiles(
        calls, client, onCall, timeout, Objects.requireNonNull(limit), listener);
  }

  @Override
  public GuestFiles withListener(TransferListener listener) {
    return new SandboxFiles(
        calls, client, onCall, timeout, limit, Objects.requireNonNull(listener));
  }

  /** What is done with a call. */
  @FunctionalInterface
  private interface Work<T> {
    T with(FileCall call)
        throws IOException, AgentException, FileFailedException, InterruptedException;
  }

  /** The same without a result. */
  @FunctionalInterface
  private interface Task {
    void with(FileCall call)
        throws IOException, AgentException, FileFailedException, InterruptedException;
  }

  private FileCall begin(FileOrder order, CompletableFuture<Void> ended) {
    calls.requireOpen();
    onCall.accept(order, ended);
    try {
      return client.files(order, timeout, timeout == null ? null : timeout.plus(MARGIN));
    } catch (Throwable e) {
      ended.complete(null);
      throw e;
    }
  }

  private <T> T run(String path, FileOrder order, Work<T> work) {
    CompletableFuture<Void> ended = new CompletableFuture<>();
    try (FileCall call = begin(order, ended)) {
      return work.with(call);
    } catch (IOException e) {
      throw new FileException(
          Reason.HOST_FILE, path, "A file of the host for " + path + " failed: " + e, null, e);
    } catch (InterruptedException e) {
      throw GuestCalls.interrupted(e);
    } catch (AgentException | FileFailedException e) {
      throw translate(path, e);
    } finally {
      ended.complete(null);
    }
  }

  private void perform(String path, FileOrder order, Task task) {
    Boolean unused =
        run(
            path,
            order,
            call -> {
              task.with(call);
              return true;
            });
  }

  private RuntimeException translate(String path, Exception failure) {
    if (failure instanceof FileFailedException e) {
      String about = e.path().isEmpty() ? path : e.path();
      Reason reason = reason(e.errno());
      String remedy =
          reason == Reason.TIMED_OUT ? "Give it a longer time: files().withTimeout(...)." : null;
      return new FileException(reason, about, "The guest: " + e.getMessage(), remedy, e);
    }
    if (failure instanceof AgentException e) {
      if (calls.isOver(e)) {
        return calls.translate(e);
      }
      return switch (e.kind()) {
        case DISCONNECTED, WORKLOAD_ENDED -> calls.translate(e);
        case REFUSED, NOT_FOUND ->
            new FileException(
                Reason.REFUSED, path, "The guest refused: " + e.getMessage(), null, e);
        case TIMED_OUT, NO_ANSWER, START_TIMED_OUT ->
            new FileException(
                Reason.TIMED_OUT,
                path,
                "The guest neither did it in time nor gave it up",
                "Close the sandbox, for its guest is not to be relied on.",
                e);
        case MISBEHAVED, CANCELLED ->
            new FileException(
                Reason.GUEST_MISBEHAVED,
                path,
                "The guest broke off a call: " + e.getMessage(),
                "Close the sandbox, for its guest is not to be relied on.",
                e);
      };
    }
    return failure instanceof RuntimeException e
        ? e
        : new IllegalStateException("unexpected failure of " + path, failure);
  }

  /** By the numbers of Linux on x86-64 (asm-generic/errno.h). */
  private static Reason reason(int errno) {
    return switch (errno) {
      case 2 -> Reason.NOT_FOUND;
      case 17 -> Reason.EXISTS;
      case 20 -> Reason.NOT_A_DIRECTORY;
      case 21 -> Reason.IS_A_DIRECTORY;
      case 6 -> Reason.NOT_A_REGULAR_FILE;
      case 39 -> Reason.NOT_EMPTY;
      case 40 -> Reason.LINKS;
      case 1, 13, 30 -> Reason.NOT_PERMITTED;
      case 12, 27, 28, 122 -> Reason.NO_SPACE;
      case 16, 18, 22, 36 -> Reason.INVALID;
      case 110 -> Reason.TIMED_OUT;
      default -> Reason.OTHER;
    };
  }

  /** Waits until the guest has done it. */
  private void run(String path, FileOrder order) {
    perform(
        path,
        order,
        call -> {
          expectDone(path, call);
        });
  }

  private static void expectDone(String path, FileCall call)
      throws AgentException, FileFailedException, InterruptedException {
    if (call.next() != null) {
      throw misbehaved(path);
    }
  }

  private static FileException misbehaved(String path) {
    return new FileException(
        Reason.GUEST_MISBEHAVED,
        path,
        "The guest answered what was not asked of " + path,
        "Close the sandbox, for its guest is not to be relied on.",
        null);
  }

  private Meter meter(String path, DataSize otherwise) {
    return new Meter(path, (limit == null ? otherwise : limit).bytes(), listener);
  }

  /** Of what is sent, which the guest limits. */
  private Meter sendingMeter(String path) {
    return new Meter(path, Long.MAX_VALUE, listener);
  }

  @Override
  public byte[] read(String path) {
    Meter meter = meter(path, DEFAULT_MEMORY_LIMIT);
    return run(
        path,
        FileOrder.read(path),
        call -> {
          meter.total(expectEntry(path, call).size());
          meter.file();
          ByteArrayOutputStream content = new ByteArrayOutputStream();
          for (Part part = call.next(); part != null; part = call.next()) {
            byte[] bytes;
            if (part instanceof Part.Data data) {
              meter.bytes(data.bytes().remaining());
              bytes = new byte[data.bytes().remaining()];
              data.bytes().get(bytes);
            } else if (part instanceof Part.Hole hole) {
              meter.bytes(hole.bytes());
              bytes = new byte[Math.toIntExact(hole.bytes())];
            } else {
              throw misbehaved(path);
            }
            content.writeBytes(bytes);
          }
          meter.done();
          return content.toByteArray();
        });
  }

  private static FileEntry expectEntry(String path, FileCall call)
      throws AgentException, FileFailedException, InterruptedException {
    if (call.next() instanceof Part.Entry entry) {
      return entry.entry();
    }
    throw misbehaved(path);
  }

  @Override
  public void read(String path, Path to) {
    Meter meter = meter(path, DEFAULT_LIMIT);
    perform(
        path,
        FileOrder.read(path),
        call -> {
          meter.total(expectEntry(path, call).size());
          meter.file();
          Path temporary =
              to.resolveSibling(".nacelle-" + UUID.randomUUID().toString().substring(0, 13));
          try {
            try (ContentWriter writer = new ContentWriter(temporary)) {
              for (Part part = call.next(); part != null; part = call.next()) {
                if (part instanceof Part.Data data) {
                  meter.bytes(data.bytes().remaining());
                  writer.data(data.bytes());
                } else if (part instanceof Part.Hole hole) {
                  meter.bytes(hole.bytes());
                  writer.hole(hole.bytes());
                } else {
                  throw misbehaved(path);
                }
              }
            }
            FileReplacement.move(temporary, to);
          } finally {
            Files.deleteIfExists(temporary);
          }
          meter.done();
        });
  }

  @Override
  public InputStream open(String path) {
    Meter meter = new Meter(path, Long.MAX_VALUE, listener);
    CompletableFuture<Void> ended = new CompletableFuture<>();
    FileCall call = begin(FileOrder.read(path), ended);
    boolean open = false;
    try {
      meter.total(expectEntry(path, call).size());
      meter.file();
      open = true;
      return new FileInput(call, meter, failures(path), end(call, ended));
    } catch (AgentException | FileFailedException e) {
      throw translate(path, e);
    } catch (InterruptedException e) {
      throw GuestCalls.interrupted(e);
    } finally {
      if (!open) {
        end(call, ended).run();
      }
    }
  }

  private Function<Exception, RuntimeException> failures(String path) {
    return failure -> translate(path, failure);
  }

  private static Runnable end(FileCall call, CompletableFuture<Void> ended) {
    return () -> {
      call.close();
      ended.complete(null);
    };
  }

  @Override
  public void write(String path, byte[] content, WriteOptions options) {
    Meter meter = sendingMeter(path);
    meter.total(content.length);
    perform(
        path,
        FileOrder.write(path, options),
        call -> {
          sender(call, meter, options).send(content);
          meter.file();
          finish(path, call, meter);
        });
  }

  private static ContentSender sender(FileCall call, Meter meter, WriteOptions options) {
    return new ContentSender(call, meter, options.existing() != WriteOptions.Existing.APPEND);
  }

  private static void finish(String path, FileCall call, Meter meter)
      throws AgentException, FileFailedException, InterruptedException {
    call.end();
    expectDone(path, call);
    meter.done();
  }

  @Override
  public void write(String path, InputStream content, WriteOptions options) {
    write(path, content, options, sendingMeter(path));
  }

  private void write(String path, InputStream content, WriteOptions options, Meter meter) {
    perform(
        path,
        FileOrder.write(path, options),
        call -> {
          sender(call, meter, options).send(content);
          meter.file();
          finish(path, call, meter);
        });
  }

  @Override
  public void write(String path, Path content, WriteOptions options) {
    FileOrder order = FileOrder.write(path, options);
    Meter meter = sendingMeter(path);
    try (InputStream in = RegularFile.open(content)) {
      meter.total(Files.size(content));
      perform(
          path,
          order,
          call -> {
            sender(call, meter, options).send(in);
            meter.file();
            finish(path, call, meter);
          });
    } catch (IOException e) {
      throw new FileException(
          Reason.HOST_FILE, path, "The host's " + content + " cannot be read: " + e, null, e);
    }
  }

  @Override
  public FileInfo info(String path) {
    return info(path, true);
  }

  @Override
  public FileInfo linkInfo(String path) {
    return info(path, false);
  }

  private FileInfo info(String path, boolean follow) {
    return run(
        path,
        FileOrder.stat(path, follow),
        call -> {
          FileEntry entry = expectEntry(path, call);
          expectDone(path, call);
          String name = path.replaceAll("/+$", "");
          return info(entry, name.substring(name.lastIndexOf('/') + 1));
        });
  }

  private static FileInfo info(FileEntry entry, String name) {
    FileType type =
        switch (entry.kind()) {
          case REGULAR_FILE, HARD_LINK -> FileType.REGULAR_FILE;
          case DIRECTORY -> FileType.DIRECTORY;
          case SYMBOLIC_LINK -> FileType.SYMBOLIC_LINK;
          case CHARACTER_DEVICE -> FileType.CHARACTER_DEVICE;
          case BLOCK_DEVICE -> FileType.BLOCK_DEVICE;
          case FIFO -> FileType.FIFO;
          case SOCKET -> FileType.SOCKET;
          case OTHER -> FileType.OTHER;
        };
    return FileInfo.builder(name)
        .type(type)
        .permissions(entry.permissions())
        .owner(entry.uid(), entry.gid())
        .size(entry.size(), entry.allocated())
        .links(entry.links())
        .modified(entry.modified())
        .linkTarget(type == FileType.SYMBOLIC_LINK ? entry.linkTarget() : null)
        .build();
  }

  @Override
  public boolean exists(String path) {
    try {
      info(path);
      return true;
    } catch (FileException e) {
      if (e.reason() == Reason.NOT_FOUND || e.reason() == Reason.NOT_A_DIRECTORY) {
        return false;
      }
      throw e;
    }
  }

  @Override
  public List<FileInfo> list(String path) {
    return run(
        path,
        FileOrder.list(path),
        call -> {
          List<FileInfo> files = new ArrayList<>();
          for (Part part = call.next(); part != null; part = call.next()) {
            if (!(part instanceof Part.Entry entry)) {
              throw misbehaved(path);
            }
            if (files.size() == MAX_LISTED) {
              throw new FileException(
                  Reason.TOO_LARGE,
                  path,
                  path + " has more than " + MAX_LISTED + " files",
                  null,
                  null);
            }
            files.add(info(entry.entry(), entry.entry().path()));
          }
          files.sort(Comparator.comparing(FileInfo::name));
          return List.copyOf(files);
        });
  }

  @Override
  public void makeDirectory(String path) {
    run(path, FileOrder.makeDirectory(path, false));
  }

  @Override
  public void makeDirectories(String path) {
    run(path, FileOrder.makeDirectory(path, true));
  }

  @Override
  public void move(String from, String to) {
    run(from, FileOrder.move(from, to));
  }

  @Override
  public void remove(String path) {
    run(path, FileOrder.remove(path, false));
  }

  @Override
  public void removeTree(String path) {
    run(path, FileOrder.remove(path, true));
  }

  @Override
  public void link(String path, String existing) {
    run(path, FileOrder.link(path, existing));
  }

  @Override
  public void symbolicLink(String path, String target) {
    run(path, FileOrder.symbolicLink(path, target));
  }

  @Override
  public void setPermissions(String path, int permissions) {
    if ((permissions & ~07777) != 0) {
      throw new IllegalArgumentException("no permissions: 0" + Integer.toOctalString(permissions));
    }
    run(path, FileOrder.setAttributes(path, permissions, null, null, null));
  }

  @Override
  public void setOwner(String path, long uid, long gid) {
    run(path, FileOrder.setAttributes(path, null, checkId(uid), checkId(gid), null));
  }

  private static long checkId(long id) {
    if (id < 0 || id > MAX_ID) {
      throw new IllegalArgumentException("no number of a user or a group: " + id);
    }
    return id;
  }

  @Override
  public void setModified(String path, Instant modified) {
    run(path, FileOrder.setAttributes(path, null, null, null, modified));
  }

  @Override
  public TreeCopy readTree(String path, Path to) {
    Meter meter = meter(path, DEFAULT_LIMIT);
    return run(
        path,
        FileOrder.readTree(path),
        call -> {
          // What the guest cannot do makes no directory here.
          Part first = call.next();
          TreeExtractor extractor = new TreeExtractor(to, path, MAX_TREE_FILES, meter);
          boolean whole = false;
          try {
            for (Part part = first; part != null; part = call.next()) {
              extractor.accept(part);
            }
            TreeCopy copy = extractor.finish();
            whole = true;
            return copy;
          } finally {
            if (!whole) {
              abandon(extractor, to);
            }
          }
        });
  }

  private static void abandon(TreeExtractor extractor, Path to) {
    Quietly.run(
        "removing what was copied to " + to,
        () -> {
          try {
            extractor.abandon();
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  @Override
  public void writeTree(String path, Path from, long uid, long gid) {
    checkId(uid);
    checkId(gid);
    send(path, (call, meter) -> new TreeSender(call, meter, uid, gid).send(from));
  }

  /** What sends a tree. */
  @FunctionalInterface
  private interface Sending {
    void send(FileCall call, Meter meter)
        throws IOException, AgentException, FileFailedException, InterruptedException;
  }

  private void send(String path, Sending sending) {
    Meter meter = sendingMeter(path);
    perform(
        path,
        FileOrder.writeTree(path),
        call -> {
          sending.send(call, meter);
          finish(path, call, meter);
        });
  }

  @Override
  public InputStream openTar(String path) {
    Meter meter = new Meter(path, Long.MAX_VALUE, listener);
    CompletableFuture<Void> ended = new CompletableFuture<>();
    FileCall call = begin(FileOrder.readTreeWithMaps(path), ended);
    return new TarInput(call, meter, failures(path), end(call, ended));
  }

  @Override
  public void writeTar(String path, InputStream tar) {
    send(path, (call, meter) -> new TarSender(call, meter).send(tar));
  }
}
