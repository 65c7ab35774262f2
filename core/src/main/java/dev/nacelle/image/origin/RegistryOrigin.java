// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import dev.nacelle.DataSize;
import dev.nacelle.FetchListener;
import dev.nacelle.FetchProgress.State;
import dev.nacelle.ImageException;
import dev.nacelle.LayerProgress;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.oci.ImageResolver;
import dev.nacelle.image.oci.MediaTypes;
import dev.nacelle.image.oci.OciJson;
import dev.nacelle.image.registry.Deadline;
import dev.nacelle.image.registry.DownloadProgress;
import dev.nacelle.image.registry.Pause;
import dev.nacelle.image.registry.RegistryClient;
import dev.nacelle.internal.ListenerGuard;
import dev.nacelle.internal.jfr.Recordings;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * An image in a registry. Everything goes through the blob store and is got once; a name that is
 * known there, with all its blobs, needs no network.
 */
public final class RegistryOrigin implements ImageOrigin {
  private final ImageRef ref;
  private final ImageLimits limits;
  private final BlobStore blobs;
  private final RegistryOptions options;
  private final Pause pause;
  private final PullPolicy policy;
  private final FetchListener listener;
  private final Deadline deadline;
  private final ListenerGuard listening = new ListenerGuard("a listener of pulls");
  private final Set<Digest> discarded = new HashSet<>();
  private @Nullable RegistryClient client;
  private @Nullable LayerDownloads downloads;

  /** An origin whose pull's {@linkplain RegistryOptions#pullTimeout() time} starts to run. */
  public RegistryOrigin(
      ImageRef ref,
      ImageLimits limits,
      BlobStore blobs,
      RegistryOptions options,
      Pause pause,
      PullPolicy policy,
      FetchListener listener) {
    this.policy = policy;
    this.listener = listener;
    this.ref = ref;
    this.limits = limits;
    this.blobs = blobs;
    this.options = options;
    this.pause = pause;
    this.deadline = new Deadline(options.pullTimeout());
  }

  /** Made when it is needed; by the threads of the downloads, too. */
  private synchronized RegistryClient client() {
    if (policy == PullPolicy.NEVER) {
      throw new ImageException(
          ImageException.Reason.NOT_PULLED,
          ref + " is not in the store, or not all of it, and is not to be pulled",
          "Pull it first, with Nacelle.builder().prepare(...), or use another pull policy than"
              + " NEVER.",
          null);
    }
    if (client == null) {
      client =
          new RegistryClient(
              options,
              ref.registry().orElseThrow(),
              ref.repository().orElseThrow(),
              pause,
              deadline);
    }
    return client;
  }

  @Override
  public List<Descriptor> roots(ImageResolver resolver) throws IOException {
    Optional<Descriptor> known = known();
    return List.of(known.isPresent() ? known.get() : lookUp());
  }

  /** What the reference means, as far as the store can say. */
  private Optional<Descriptor> known() throws IOException {
    if (ref.digest().isPresent()) {
      return stored(ref.digest().get());
    }
    Optional<Descriptor> last = policy == PullPolicy.ALWAYS ? Optional.empty() : blobs.recall(ref);
    return last.isPresent() && find(last.get()).isPresent() ? last : Optional.empty();
  }

  /** What a digest means is the same everywhere, whoever pulled it. */
  private Optional<Descriptor> stored(Digest digest) throws IOException {
    Optional<Path> file = blobs.find(digest);
    if (file.isEmpty() || Files.size(file.get()) > limits.jsonSize().bytes()) {
      return Optional.empty();
    }
    byte[] content = Files.readAllBytes(file.get());
    return digest.matches(content) ? Optional.of(root(digest, content, "")) : Optional.empty();
  }

  /** Asks the registry what the reference means, and remembers that. */
  private Descriptor lookUp() throws IOException {
    RegistryClient.Document document =
        ref.digest().isPresent()
            ? client().manifest(ref.digest().get(), (int) limits.jsonSize().bytes())
            : client().manifest(ref.tag().orElseThrow(), (int) limits.jsonSize().bytes());
    byte[] content = document.content();
    Digest digest = ref.digest().orElseGet(() -> Digests.sha256(content));
    Descriptor root = root(digest, content, document.mediaType());
    blobs.put(digest, content);
    if (ref.digest().isEmpty()) {
      blobs.remember(ref, root);
    }
    return root;
  }

  private Descriptor root(Digest digest, byte[] content, String type) {
    return new Descriptor(mediaType(digest, content, type), digest, content.length, null, Map.of());
  }

  /** Some servers know no types, and the document says it, or at least looks like it. */
  private String mediaType(Digest digest, byte[] content, String type) {
    if (MediaTypes.isManifest(type) || MediaTypes.isIndex(type)) {
      return type;
    }
    OciJson json = OciJson.parse(content, "The manifest " + digest + " of " + this);
    String own = json.optionalString("mediaType");
    if (!own.isEmpty()) {
      return own;
    }
    return json.has("manifests")
        ? MediaTypes.INDEX
        : json.has("layers")
            ? MediaTypes.MANIFEST
            : json.has("fsLayers") ? MediaTypes.SCHEMA_1 : type;
  }

  /** A blob that is there, with as many bytes as it should have. */
  private Optional<Path> find(Descriptor blob) throws IOException {
    Optional<Path> file = blobs.find(blob.digest());
    if (file.isPresent() && Files.size(file.get()) != blob.size()) {
      blobs.dropDamaged(blob);
      return Optional.empty();
    }
    return file;
  }

  @Override
  public void prefetch(List<Descriptor> layers, int from) throws IOException {
    stopDownloads();
    List<Descriptor> wanted = layers.subList(from, layers.size());
    requirePlausible(wanted);
    for (int i = 0; i < layers.size(); i++) {
      Progress progress = new Progress(layers.get(i), i + 1, layers.size());
      if (i < from) {
        progress.tell(State.ALREADY_THERE, layers.get(i).size());
      } else {
        progress.tell(State.WAITING, 0);
      }
    }
    downloads =
        new LayerDownloads(
            wanted,
            options.parallelDownloads(),
            deadline,
            (layer, index) -> recorded(layer, from + index + 1, layers.size()));
  }

  private Path recorded(Descriptor layer, int index, int count) throws IOException {
    Recordings.Ending recording = Recordings.layer(ref.toString(), layer.digest().toString());
    long size = -1;
    try {
      Path file = layer(layer, index, count);
      size = layer.size();
      return file;
    } finally {
      recording.end(size);
    }
  }

  /** Layers that are larger than what they may unpack to would but fill the disk. */
  private void requirePlausible(List<Descriptor> layers) {
    long left = limits.unpackedSize().bytes();
    for (Descriptor layer : layers) {
      if (layer.size() > left) {
        throw new ImageException(
            ImageException.Reason.TOO_LARGE,
            "The layers of "
                + ref
                + " are larger than all of them may be when they are unpacked: "
                + limits.unpackedSize(),
            "Raise unpackedSize of the ImageLimits, if it may be that large.",
            null);
      }
      left -= layer.size();
    }
  }

  private Path layer(Descriptor layer, int number, int layers) throws IOException {
    Progress progress = new Progress(layer, number, layers);
    Optional<Path> there = find(layer);
    if (there.isPresent()) {
      progress.tell(State.ALREADY_THERE, layer.size());
      return there.get();
    }
    Path file =
        blobs.get(
            layer.digest(),
            deadline::check,
            partial -> {
              progress.downloads = true;
              download(layer, partial, progress);
            });
    progress.tell(progress.downloads ? State.DONE : State.ALREADY_THERE, layer.size());
    return file;
  }

  /** Used by one thread. */
  private final class Progress implements DownloadProgress {
    private final Descriptor layer;
    private final int number;
    private final int layers;
    private boolean downloads;

    Progress(Descriptor layer, int number, int layers) {
      this.layer = layer;
      this.number = number;
      this.layers = layers;
    }

    @Override
    public void resumed(long done) {
      tell(State.RESUMED, done);
    }

    @Override
    public void advanced(long done) {
      tell(State.DOWNLOADING, done);
    }

    @Override
    public void failed(long done) {
      tell(State.RETRYING, done);
    }

    void tell(State state, long done) {
      LayerProgress progress =
          LayerProgress.of(
              ref,
              layer.digest(),
              number,
              layers,
              state,
              DataSize.bytes(done),
              DataSize.bytes(layer.size()));
      listening.run(() -> listener.onProgress(progress));
    }
  }

  @Override
  public InputStream open(Descriptor blob) throws IOException {
    if (downloads != null && downloads.contains(blob)) {
      return Files.newInputStream(downloads.await(blob));
    }
    Optional<Path> there = find(blob);
    return Files.newInputStream(there.isPresent() ? there.get() : fetch(blob));
  }

  private Path fetch(Descriptor blob) throws IOException {
    if (MediaTypes.isManifest(blob.mediaType()) || MediaTypes.isIndex(blob.mediaType())) {
      blobs.put(
          blob.digest(),
          client().manifest(blob.digest(), (int) limits.jsonSize().bytes()).content());
      return blobs.find(blob.digest()).orElseThrow();
    }
    return blobs.get(
        blob.digest(), deadline::check, partial -> download(blob, partial, DownloadProgress.NONE));
  }

  private void download(Descriptor blob, Path file, DownloadProgress progress) throws IOException {
    String ifAbsent =
        MediaTypes.isForeign(blob.mediaType())
            ? "It is a foreign layer, which registries need not have: take the image from an archive"
                + " that has it, as 'docker save' makes it, or one that was built without it."
            : "Have the image pushed again, with all its layers.";
    client().download(blob.digest(), blob.size(), ifAbsent, file, progress);
  }

  @Override
  public void checkDeadline() {
    deadline.check();
  }

  @Override
  public boolean discard(Descriptor blob) throws IOException {
    if (!discarded.add(blob.digest())) {
      return false;
    }
    stopDownloads();
    blobs.dropDamaged(blob);
    return true;
  }

  private void stopDownloads() {
    if (downloads != null) {
      downloads.close();
      downloads = null;
    }
  }

  @Override
  public void close() throws IOException {
    stopDownloads();
    synchronized (this) {
      if (client != null) {
        client.close();
      }
    }
  }

  @Override
  public String toString() {
    return ref.registry().orElseThrow();
  }
}
