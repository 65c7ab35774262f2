// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.oci.OciJson;
import dev.nacelle.internal.DirectoryLocks;
import dev.nacelle.internal.FileCache;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Blobs by digest, and which of them a reference meant last: {@code blobs/sha256/HEX} and {@code
 * names/HEX} in the store's directory. Downloaded once, for every image that has them. Safe for use
 * from several threads and processes.
 */
public final class BlobStore {
  /** Of what a reference meant: a reference and a descriptor. */
  private static final int MAX_NAME = 1 << 16;

  /** The lock of all blobs together. */
  private static final String IN_USE = "blobs";

  private final Path directory;
  private final Path blobs;
  private final Path names;
  private final DirectoryLocks locks;

  /**
   * A store.
   *
   * @param directory created when something is put there
   */
  public BlobStore(Path directory) {
    this.directory = directory;
    this.blobs = directory.resolve("blobs");
    this.names = directory.resolve("names");
    this.locks = new DirectoryLocks(directory);
  }

  /**
   * Keeps all blobs in the store for as long as what is returned is open: whoever looks an image up
   * finds them by and by. Null in a store that cannot be written to, from which nothing can go.
   */
  public DirectoryLocks.@Nullable Held use() throws IOException {
    boolean readOnly = Files.exists(directory) && !Files.isWritable(directory);
    return readOnly ? null : locks.shared(IN_USE);
  }

  /**
   * Makes sure that nobody looks an image up for as long as what is returned is open, or returns
   * null because somebody does.
   */
  public DirectoryLocks.@Nullable Held tryPrune() throws IOException {
    return locks.tryExclusive(IN_USE);
  }

  /** The blobs: what pruning counts, and removes from while {@link #tryPrune} is held. */
  public List<FileCache> blobs() {
    return Arrays.stream(Digest.Algorithm.values()).map(this::cache).toList();
  }

  /** What references meant: what pruning may remove from at any time. */
  public FileCache names() {
    return new FileCache(names);
  }

  private FileCache cache(Digest.Algorithm algorithm) {
    return new FileCache(blobs.resolve(algorithm.toString()));
  }

  private FileCache cache(Digest digest) {
    return cache(digest.algorithm());
  }

  private Path file(Digest digest) {
    return blobs.resolve(digest.algorithm().toString()).resolve(digest.hex());
  }

  /** The file of a blob that is there. */
  Optional<Path> find(Digest digest) {
    Optional<Path> file = Optional.of(file(digest)).filter(Files::isRegularFile);
    file.ifPresent(found -> cache(digest).touch(digest.hex()));
    return file;
  }

  /**
   * The file of a blob, got first when it is absent. Others who want the same wait meanwhile, and
   * can be interrupted.
   *
   * @param whileWaiting called again and again meanwhile; what it throws ends the wait
   * @param download verifies what it writes. Its file may hold the beginning that an earlier
   *     attempt got, which is as untrusted as the rest.
   */
  public Path get(Digest digest, Runnable whileWaiting, FileCache.Maker download)
      throws IOException {
    return cache(digest).resume(digest.hex(), whileWaiting, download);
  }

  /** Keeps a blob that was verified. */
  public void put(Digest digest, byte[] content) throws IOException {
    cache(digest).get(digest.hex(), file -> Files.write(file, content));
  }

  /**
   * Forgets a blob that is not as a descriptor says, if it is the blob that is wrong. Who has it
   * open can go on reading.
   *
   * @throws ImageException when it is the descriptor: other images may have the right one
   */
  void dropDamaged(Descriptor blob) throws IOException {
    Path file = file(blob.digest());
    if (!Files.exists(file)) {
      return;
    }
    if (!Digests.of(blob.digest().algorithm(), file).equals(blob.digest())) {
      Files.deleteIfExists(file);
    } else if (Files.size(file) != blob.size()) {
      throw new ImageException(
          ImageException.Reason.DAMAGED,
          "The blob "
              + blob.digest()
              + " has "
              + Files.size(file)
              + " bytes, and the image's descriptor of it says "
              + blob.size(),
          "Have the image built and pushed again.",
          null);
    }
  }

  /** What a reference meant when it was last looked up where it points to. */
  Optional<Descriptor> recall(ImageRef ref) throws IOException {
    Path file = name(ref);
    if (!Files.isRegularFile(file) || Files.size(file) > MAX_NAME) {
      return Optional.empty();
    }
    try {
      OciJson json = OciJson.parse(Files.readAllBytes(file), file.toString());
      if (!json.string("ref").equals(ref.toString())) {
        return Optional.empty();
      }
      new FileCache(names).touch(file.getFileName().toString());
      return Optional.of(Descriptor.parse(json.object("root")));
    } catch (ImageException damaged) {
      return Optional.empty();
    }
  }

  /** Keeps what a reference means. */
  public void remember(ImageRef ref, Descriptor root) throws IOException {
    byte[] content =
        "{\"ref\":%s,\"root\":%s}"
            .formatted(OciJson.quote(ref.toString()), root.toJson())
            .getBytes(StandardCharsets.UTF_8);
    Path file = name(ref);
    new FileCache(names).replace(file.getFileName().toString(), made -> Files.write(made, content));
  }

  private Path name(ImageRef ref) {
    return names.resolve(Digests.sha256(ref.toString()).hex());
  }
}
