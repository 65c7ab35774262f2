// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Files that are expensive to make, kept by a key that says all that went into them.
 *
 * <p>A file is made under another name in the same directory, forced to the disk and renamed, so a
 * crash at any point leaves nothing that is later believed. At most one maker runs per key, in this
 * process and in all processes that share the directory; different keys do not wait for each other.
 * What is leased is not removed, by whatever process; {@link DirectoryLocks} says how. On Windows
 * an entry stays as well while anybody has it open in a way that keeps it. Safe for use from
 * several threads.
 *
 * <p>Whoever waits for another maker can be interrupted: a FileLockInterruptionException, with the
 * thread's interrupt status set.
 */
public final class FileCache {
  private static final Pattern KEY = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,199}");
  private static final String PARTIAL = ".partial";
  private static final String MARK = ".used";

  private final Path directory;
  private final DirectoryLocks locks;

  /** Writes the content of a new entry to a file that exists and is empty. */
  @FunctionalInterface
  public interface Maker {
    void make(Path file) throws IOException;
  }

  /** An entry that stays as long as this is open. */
  public static final class Lease implements AutoCloseable {
    private final Path file;
    private final DirectoryLocks.@Nullable Held lock;

    private Lease(Path file, DirectoryLocks.@Nullable Held lock) {
      this.file = file;
      this.lock = lock;
    }

    public Path file() {
      return file;
    }

    /** Idempotent; does not throw. */
    @Override
    public void close() {
      if (lock != null) {
        lock.close();
      }
    }
  }

  /**
   * An entry as it was when it was looked at.
   *
   * @param bytes that it takes of the disk at most: holes count
   * @param lastUsed when it was made or last asked for
   */
  public record Entry(String key, long bytes, Instant lastUsed) {}

  public FileCache(Path directory) {
    this.directory = directory.toAbsolutePath().normalize();
    this.locks = new DirectoryLocks(this.directory);
  }

  /**
   * The entry of that key, made first when it is absent. An entry never changes once it is there;
   * it may be {@linkplain #remove removed}.
   *
   * @param key 1 to 200 characters of {@code [A-Za-z0-9._-]}, starting with a letter or digit
   * @throws IOException when the directory cannot be used, or as the maker throws
   */
  public Path get(String key, Maker maker) throws IOException {
    try (Lease lease = lease(key, maker)) {
      return lease.file();
    }
  }

  /** As {@link #get}, and keeps the entry from being removed. */
  public Lease lease(String key, Maker maker) throws IOException {
    return lease(key, () -> {}, maker);
  }

  /**
   * As {@link #lease(String, Maker)}.
   *
   * @param whileWaiting called again and again while another makes it; what it throws ends the wait
   */
  public Lease lease(String key, Runnable whileWaiting, Maker maker) throws IOException {
    return await(key, whileWaiting, (file, partial) -> make(file, partial, maker));
  }

  /** Whether the entry is there; it may be removed at any time. */
  public boolean contains(String key) {
    return Files.exists(file(key));
  }

  /** As {@link #lease} where the entry is there; empty where it is not. */
  public Optional<Lease> find(String key) throws IOException {
    if (!Files.exists(file(key))) {
      return Optional.empty();
    }
    try {
      return Optional.of(
          lease(
              key,
              made -> {
                throw new NoSuchFileException(made.toString());
              }));
    } catch (NoSuchFileException e) {
      return Optional.empty(); // removed since
    }
  }

  /**
   * As {@link #get}, for what takes several attempts: where a maker fails, or the process ends,
   * what was written stays, and is what the next maker finds in its file.
   *
   * @param whileWaiting as for {@link #lease(String, Runnable, Maker)}
   */
  public Path resume(String key, Runnable whileWaiting, Maker maker) throws IOException {
    try (Lease lease = await(key, whileWaiting, (file, partial) -> finish(file, partial, maker))) {
      return lease.file();
    }
  }

  /** Makes the entry of that key, also where there is one. Who has that open keeps it. */
  public Path replace(String key, Maker maker) throws IOException {
    Path file = file(key);
    try (DirectoryLocks.Held used = locks.shared(key);
        DirectoryLocks.Held making = locks.exclusive(makerOf(key))) {
      make(file, partial(key), maker);
    }
    return file;
  }

  /** Makes an entry, by way of another file. */
  @FunctionalInterface
  private interface Making {
    void run(Path file, Path partial) throws IOException;
  }

  private Lease await(String key, Runnable whileWaiting, Making making) throws IOException {
    Path file = file(key);
    if (Files.exists(file) && !Files.isWritable(directory)) {
      // A cache that somebody else fills, and empties when nothing runs.
      return new Lease(file, null);
    }
    // From before it is made, so that it is there at the end.
    DirectoryLocks.Held used = locks.shared(key);
    try {
      if (Files.exists(file)) {
        touch(key);
      } else {
        try (DirectoryLocks.Held maker = locks.exclusive(makerOf(key), whileWaiting)) {
          if (!Files.exists(file)) {
            making.run(file, partial(key));
          }
        }
      }
      return new Lease(file, used);
    } catch (IOException | RuntimeException | Error e) {
      used.close();
      throw e;
    }
  }

  /** The lock of whoever makes an entry; no key, so the lock of no entry. */
  private static String makerOf(String key) {
    return key + "/maker";
  }

  private Path file(String key) {
    if (!KEY.matcher(key).matches()) {
      throw new IllegalArgumentException("not a cache key: " + key);
    }
    return directory.resolve(key);
  }

  private Path partial(String key) {
    return directory.resolve("." + key + PARTIAL);
  }

  /** An empty file, whose time is that of the entry's last use. */
  private Path mark(String key) {
    return directory.resolve("." + key + MARK);
  }

  /**
   * Says that an entry was used, as far as this process may say it. Not by the entry's own time: to
   * set that, an overlay would copy the whole file up.
   */
  public void touch(String key) {
    Path mark = mark(key);
    try {
      if (!Files.exists(mark)) {
        Files.write(mark, new byte[0]);
      }
      Files.setLastModifiedTime(mark, FileTime.from(Instant.now()));
    } catch (IOException e) {
      // Another user's: then its age is not known better.
    }
  }

  private Instant lastUsed(String key, Path file) throws IOException {
    FileTime made = Files.getLastModifiedTime(file);
    try {
      FileTime used = Files.getLastModifiedTime(mark(key));
      return (used.compareTo(made) > 0 ? used : made).toInstant();
    } catch (NoSuchFileException e) {
      return made.toInstant();
    }
  }

  /**
   * The name of a file that a maker needs meanwhile, beside the one that it was given. What is left
   * there of a maker that was killed is gone.
   */
  public static Path temporary(Path partial, String ending) throws IOException {
    Path file = partial.resolveSibling(partial.getFileName() + ending);
    Files.deleteIfExists(file);
    return file;
  }

  private static void make(Path file, Path partial, Maker maker) throws IOException {
    // Whoever has the maker's lock may remove what somebody left who had it and was killed.
    Files.deleteIfExists(partial);
    PrivateFile.create(partial);
    try {
      maker.make(partial);
      publish(partial, file);
    } finally {
      Files.deleteIfExists(partial);
    }
  }

  private static void finish(Path file, Path partial, Maker maker) throws IOException {
    if (!Files.exists(partial)) {
      PrivateFile.create(partial);
    }
    maker.make(partial);
    publish(partial, file);
  }

  private static void publish(Path partial, Path file) throws IOException {
    try (FileChannel channel = FileChannel.open(partial, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
    FileReplacement.move(partial, file);
  }

  /** What is there, in no particular order; others may come and go meanwhile. */
  public List<Entry> entries() throws IOException {
    List<Entry> entries = new ArrayList<>();
    for (Path file : files()) {
      String name = file.getFileName().toString();
      if (KEY.matcher(name).matches()) {
        try {
          BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
          if (attributes.isRegularFile()) {
            entries.add(new Entry(name, attributes.size(), lastUsed(name, file)));
          }
        } catch (NoSuchFileException e) {
          // Removed meanwhile.
        }
      }
    }
    return entries;
  }

  private List<Path> files() throws IOException {
    if (!Files.exists(directory)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(directory)) {
      return files.toList();
    }
  }

  /**
   * Removes an entry, unless it is leased by this or another process, was used since, or is gone.
   *
   * @return the bytes that it had, or nothing when it was not removed
   */
  public OptionalLong remove(Entry entry) throws IOException {
    Path file = file(entry.key());
    DirectoryLocks.Held lock = locks.tryExclusive(entry.key());
    if (lock == null) {
      return OptionalLong.empty();
    }
    try (lock) {
      boolean unchanged =
          Files.exists(file) && lastUsed(entry.key(), file).equals(entry.lastUsed());
      if (!unchanged || !FileReplacement.tryDelete(file)) {
        return OptionalLong.empty();
      }
      Files.deleteIfExists(mark(entry.key()));
      return OptionalLong.of(entry.bytes());
    }
  }

  /**
   * Removes an entry that was found to be damaged, unless it is leased by this or another process.
   *
   * @return whether it is gone
   */
  public boolean discard(String key) throws IOException {
    Path file = file(key);
    DirectoryLocks.Held lock = locks.tryExclusive(key);
    if (lock == null) {
      return false;
    }
    try (lock) {
      if (!FileReplacement.tryDelete(file) && Files.exists(file)) {
        return false;
      }
      Files.deleteIfExists(mark(key));
      return true;
    }
  }

  /**
   * What is half-made, be it in the making or what {@link #resume} could go on with; its time is
   * that of its last change.
   */
  public List<Entry> partials() throws IOException {
    List<Entry> partials = new ArrayList<>();
    for (Path file : files()) {
      String name = file.getFileName().toString();
      if (name.startsWith(".") && name.endsWith(PARTIAL)) {
        try {
          BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
          String key = name.substring(1, name.length() - PARTIAL.length());
          Instant changed = attributes.lastModifiedTime().toInstant();
          partials.add(new Entry(key, attributes.size(), changed));
        } catch (NoSuchFileException e) {
          // Finished or removed meanwhile.
        }
      }
    }
    return partials;
  }

  /**
   * Removes something half-made, unless somebody is at work on it, was since, or it is gone.
   *
   * @return the bytes that it had, or nothing when it was not removed
   */
  public OptionalLong removePartial(Entry entry) throws IOException {
    DirectoryLocks.Held maker = locks.tryExclusive(makerOf(entry.key()));
    if (maker == null) {
      return OptionalLong.empty();
    }
    try (maker) {
      Path file = partial(entry.key());
      boolean unchanged =
          Files.exists(file)
              && Files.size(file) == entry.bytes()
              && Files.getLastModifiedTime(file).toInstant().equals(entry.lastUsed());
      return unchanged && FileReplacement.tryDelete(file)
          ? OptionalLong.of(entry.bytes())
          : OptionalLong.empty();
    }
  }

  /**
   * Removes everything half-made that nobody is at work on: what makers left that were killed.
   *
   * @return the bytes that it had
   */
  public long removePartials() throws IOException {
    long bytes = 0;
    for (Entry partial : partials()) {
      bytes += removePartial(partial).orElse(0);
    }
    return bytes;
  }

  /** Removes what says of entries that are gone when they were used. */
  public void removeMarks() throws IOException {
    for (Path file : files()) {
      String name = file.getFileName().toString();
      if (name.startsWith(".") && name.endsWith(MARK)) {
        removeMark(file);
      }
    }
  }

  private void removeMark(Path mark) throws IOException {
    String name = mark.getFileName().toString();
    String key = name.substring(1, name.length() - MARK.length());
    DirectoryLocks.Held lock = locks.tryExclusive(key);
    if (lock != null) {
      try (lock) {
        if (!Files.exists(directory.resolve(key))) {
          Files.deleteIfExists(mark);
        }
      }
    }
  }
}
