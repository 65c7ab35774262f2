// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import dev.nacelle.DataSize;
import dev.nacelle.FetchListener;
import dev.nacelle.ImageException;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.Stage;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.ext4.Checkpoint;
import dev.nacelle.image.ext4.Ext4ImageException;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.oci.DamagedBlobException;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.oci.ImageResolver;
import dev.nacelle.image.oci.Manifest;
import dev.nacelle.image.origin.BlobStore;
import dev.nacelle.image.origin.DockerArchive;
import dev.nacelle.image.origin.ImageOrigin;
import dev.nacelle.image.origin.OciLayout;
import dev.nacelle.image.origin.RegistryOrigin;
import dev.nacelle.image.origin.RootDirectory;
import dev.nacelle.image.registry.Pause;
import dev.nacelle.internal.DirectoryLocks;
import dev.nacelle.internal.FileCache;
import dev.nacelle.internal.Interruption;
import dev.nacelle.internal.Shortage;
import dev.nacelle.internal.jfr.Recordings;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Makes images ready to run, and keeps what that took in a directory of its own.
 *
 * <p>The first use of an image unpacks all its layers into one ext4 filesystem, and verifies the
 * digest of each blob and of each unpacked layer; where its first layers are a filesystem already,
 * or the first ones of another image's, they are copied and only the others are unpacked. Every
 * later use of the same layers, under whatever name, in this process and in others that share the
 * directory, reads the manifest and the configuration only. What comes from a registry is kept by
 * digest and downloaded once; a tag that was pulled once means the same from then on, unless the
 * {@link PullPolicy} says to ask again. A crash leaves nothing that is later believed. {@link
 * #prune} gets space back.
 *
 * <p>Safe for use from several threads and processes. An interrupt ends the work with an
 * ImageException and leaves the thread interrupted.
 */
public final class ImageStore {
  /** Names of filesystems begin and end with these; the chain ID is between them. */
  private static final String PREFIX = "v" + ImageBuilder.FORMAT + "-";

  private static final String SUFFIX = ".ext4";

  private final ImageLimits limits;
  private final RegistryOptions registries;
  private final FetchListener listener;
  private final Pause pause;
  private final Path directory;
  private final Path filesystemDirectory;
  private final FileCache filesystems;
  private final BlobStore blobs;

  /** A store with the default limits. */
  public ImageStore(Path directory) {
    this(directory, ImageLimits.DEFAULT);
  }

  /**
   * A store.
   *
   * @param directory where to keep things; created when absent
   * @param limits on what an image may be; what is already there is not asked again, be it an image
   *     or its first layers
   */
  public ImageStore(Path directory, ImageLimits limits) {
    this(directory, limits, RegistryOptions.defaults());
  }

  /**
   * A store.
   *
   * @param directory where to keep things; created when absent
   * @param limits on what an image may be; what is already there is not asked again, be it an image
   *     or its first layers
   * @param registries how to talk to registries
   */
  public ImageStore(Path directory, ImageLimits limits, RegistryOptions registries) {
    this(directory, limits, registries, progress -> {});
  }

  /**
   * A store.
   *
   * @param directory where to keep things; created when absent
   * @param limits on what an image may be; what is already there is not asked again, be it an image
   *     or its first layers
   * @param registries how to talk to registries
   * @param listener is told how layers arrive
   */
  public ImageStore(
      Path directory, ImageLimits limits, RegistryOptions registries, FetchListener listener) {
    this(directory, limits, registries, listener, Pause.SLEEP);
  }

  ImageStore(
      Path directory,
      ImageLimits limits,
      RegistryOptions registries,
      FetchListener listener,
      Pause pause) {
    this.listener = listener;
    this.limits = limits;
    this.registries = registries;
    this.pause = pause;
    this.directory = directory;
    this.filesystemDirectory = directory.resolve("filesystems");
    this.filesystems = new FileCache(filesystemDirectory);
    this.blobs = new BlobStore(directory);
  }

  /** As {@link #resolve(ImageRef, Platform)} for {@link Platform#LINUX_AMD64}. */
  public ResolvedImage resolve(ImageRef ref) {
    return resolve(ref, Platform.LINUX_AMD64);
  }

  /**
   * Finds an image, and pulls and unpacks it where that was not done yet. It is in the store when
   * this returns, and until somebody {@linkplain #prune prunes} it: {@link #lease} keeps it.
   *
   * @throws ImageException when it cannot be found, verified or unpacked
   */
  public ResolvedImage resolve(ImageRef ref, Platform platform) {
    try (ImageLease lease = lease(ref, platform, PullPolicy.MISSING)) {
      return lease.image();
    }
  }

  /**
   * As {@link #resolve}, and keeps the image in the store.
   *
   * @throws ImageException when it cannot be found, verified or unpacked, or is not to be pulled
   */
  public ImageLease lease(ImageRef ref, Platform platform, PullPolicy policy) {
    try {
      return read(ref, platform, policy, this::resolve);
    } catch (IOException e) {
      Interruption.rethrow(Stage.IMAGE, "making the image " + ref + " ready", e);
      throw new ImageException(
          ImageException.Reason.HOST_DISK,
          "The image " + ref + " cannot be made ready: " + e,
          Shortage.remedy(
              e,
              "See that "
                  + directory.toAbsolutePath()
                  + " can be written to and has space (pruning makes some), and that the image can"
                  + " be read."),
          e);
    }
  }

  /** Reads an image that was found. */
  @FunctionalInterface
  public interface Reader<T> {
    /**
     * Reads what it wants. It may be called again, from the beginning, where a blob of the store
     * turned out to be damaged.
     *
     * @param image valid until this returns
     */
    T read(OpenImage image) throws IOException;
  }

  /**
   * Finds an image, and has some of it read, without a filesystem being made of it: for images that
   * are but parcels of files.
   *
   * @return what the reader returns
   * @throws ImageException when it cannot be found or verified, or is not to be pulled
   * @throws IOException when the store or the image cannot be read, and as the reader throws
   */
  public <T> T read(ImageRef ref, Platform platform, PullPolicy policy, Reader<T> reader)
      throws IOException {
    boolean remote = ref.transport() == ImageRef.Transport.REGISTRY;
    try (DirectoryLocks.Held inUse = remote ? blobs.use() : null;
        ImageOrigin origin = open(ref, policy)) {
      while (true) {
        try {
          ImageResolver resolver = new ImageResolver(origin, platform, limits, ref.toString());
          Manifest manifest = resolver.resolve(origin.roots(resolver));
          return reader.read(new OpenImage(ref, origin, manifest, limits));
        } catch (DamagedBlobException e) {
          if (!origin.discard(e.blob())) {
            throw e;
          }
        }
      }
    }
  }

  /**
   * Removes what was not used for long, or what there is too much of, from the store; and what
   * killed processes left half-made. What a {@linkplain #lease lease} keeps stays, in whatever
   * process that is; and no blob goes while any process looks up an image of a registry, which the
   * result tells.
   *
   * <p>An image whose filesystem went is unpacked again when it is next used, from its blobs or,
   * where those went too, from its registry.
   *
   * @throws ImageException when the directory cannot be read, or not be written to
   */
  public PruneResult prune(PrunePolicy policy) {
    try {
      if (!Files.exists(directory)) {
        return PruneResult.of(List.of(), DataSize.bytes(0), DataSize.bytes(0), false);
      }
      try (DirectoryLocks.Held blobsUnused = blobs.tryPrune()) {
        List<StorePruner.Part> kinds = new ArrayList<>();
        blobs.blobs().forEach(b -> kinds.add(new StorePruner.Part(PruneResult.Kind.BLOB, b)));
        kinds.add(new StorePruner.Part(PruneResult.Kind.FILESYSTEM, filesystems));
        kinds.add(new StorePruner.Part(PruneResult.Kind.NAME, blobs.names()));
        return new StorePruner(kinds, blobsUnused == null, policy, Instant.now()).prune();
      }
    } catch (IOException e) {
      throw new ImageException(
          ImageException.Reason.HOST_DISK,
          "The store " + directory + " cannot be pruned: " + e,
          "See that this process may write to it.",
          e);
    }
  }

  private ImageOrigin open(ImageRef ref, PullPolicy policy) throws IOException {
    return switch (ref.transport()) {
      case OCI_LAYOUT, OCI_ARCHIVE -> OciLayout.open(ref, limits);
      case DOCKER_ARCHIVE -> DockerArchive.open(ref, limits);
      case DIRECTORY -> RootDirectory.open(ref, directory);
      case REGISTRY -> new RegistryOrigin(ref, limits, blobs, registries, pause, policy, listener);
    };
  }

  private ImageLease resolve(OpenImage open) throws IOException {
    FileCache.Lease filesystem = filesystem(open.manifest(), open.origin());
    return new ImageLease(
        new ResolvedImage(open.ref(), open.digest(), open.manifest().config(), filesystem.file()),
        filesystem);
  }

  /** A filesystem that lost its end, as with a disk that was not cleanly left, is made anew. */
  private FileCache.Lease filesystem(Manifest image, ImageOrigin origin) throws IOException {
    String key = key(image.chainId());
    for (boolean first = true; ; first = false) {
      FileCache.Lease lease =
          filesystems.lease(key, origin::checkDeadline, file -> build(image, origin, file));
      try {
        Ext4Writer.requireWhole(lease.file());
        return lease;
      } catch (IOException | RuntimeException e) {
        lease.close();
        if (!first || !(e instanceof Ext4ImageException) || !filesystems.discard(key)) {
          throw e;
        }
      }
    }
  }

  private static String key(Digest chainId) {
    return PREFIX + chainId.hex() + SUFFIX;
  }

  /** Whether a file of that name is a filesystem with its list of {@link SharedParts}. */
  static boolean isFilesystem(String name) {
    return name.startsWith(PREFIX) && name.endsWith(SUFFIX);
  }

  /** Unpacks what comes on top of the most layers that are in some filesystem already. */
  private void build(Manifest image, ImageOrigin origin, Path file) throws IOException {
    int layers = image.layers().size();
    SharedParts parts = SharedParts.in(filesystemDirectory);
    for (int done = layers - 1; done > 0; done--) {
      Base base = findBase(image.chainId(done), parts);
      if (base == null) {
        continue;
      }
      try (base) {
        origin.prefetch(image.layers(), done);
        build(image, origin, file, base.content(), done);
        return;
      } catch (Ext4ImageException damaged) {
        filesystems.discard(base.key());
      }
    }
    origin.prefetch(image.layers(), 0);
    build(image, origin, file, null, 0);
  }

  private void build(
      Manifest image, ImageOrigin origin, Path file, ImageBuilder.@Nullable Base base, int done)
      throws IOException {
    Recordings.Ending recording =
        Recordings.image(image.chainId().toString(), image.layers().size(), done);
    long size = -1;
    try {
      new ImageBuilder(origin, image, limits).build(file, base, done);
      size = Files.size(file);
    } finally {
      recording.end(size);
    }
  }

  /** Something that holds the layers that are wanted, kept from being removed. */
  private record Base(String key, ImageBuilder.Base content, FileCache.Lease filesystem)
      implements AutoCloseable {
    @Override
    public void close() {
      filesystem.close();
    }
  }

  private @Nullable Base findBase(Digest chainId, SharedParts parts) throws IOException {
    String key = key(chainId);
    Optional<FileCache.Lease> whole = filesystems.find(key);
    if (whole.isPresent()) {
      Path base = whole.get().file();
      return new Base(key, (file, options) -> Ext4Writer.extend(base, file, options), whole.get());
    }
    @Nullable String other = parts.find(chainId);
    return other == null ? null : findPart(other, chainId);
  }

  private @Nullable Base findPart(String key, Digest chainId) throws IOException {
    FileCache.Lease lease = filesystems.find(key).orElse(null);
    if (lease == null) {
      return null;
    }
    try {
      // Only now it stays what it is.
      Path base = lease.file();
      Checkpoint checkpoint = SharedParts.find(base, chainId);
      if (checkpoint != null) {
        return new Base(
            key, (file, options) -> Ext4Writer.extend(base, checkpoint, file, options), lease);
      }
    } catch (IOException | RuntimeException e) {
      lease.close();
      throw e;
    }
    lease.close();
    return null;
  }
}
