// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.Platform;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * From what a place names to the one manifest for a platform: through indexes and indexes in them
 * (image-index.md of the OCI image specification), past attestations and other artifacts.
 */
public final class ImageResolver {
  /** Indexes in indexes; nobody has more than two. */
  private static final int MAX_DEPTH = 8;

  /** Documents to read before there is something wrong with the image. */
  private static final int MAX_DOCUMENTS = 1_000;

  /** What buildkit writes for attestations, so that no engine runs them. */
  private static final String UNKNOWN = "unknown";

  /** How many of them are in an error. */
  private static final int MAX_TOLD = 3;

  private final BlobSource source;
  private final Path cpuinfo;
  private final ImageLimits limits;
  private final String ref;
  private final Map<String, Platform> otherPlatforms = new TreeMap<>();
  private final Set<String> otherTypes = new TreeSet<>();

  /** What is no image, or says wrong things of itself, beside what may be one; by what it is. */
  private final Map<String, ImageException> passedOver = new LinkedHashMap<>();

  private Platform platform;

  /** Whether the reference can mean one thing only. */
  private boolean direct;

  private int documents;

  /**
   * A resolver for one look-up.
   *
   * @param ref what is looked up, for errors
   */
  public ImageResolver(BlobSource source, Platform platform, ImageLimits limits, String ref) {
    this(source, platform, limits, ref, ProcessorVariant.CPUINFO);
  }

  /**
   * The same for another processor.
   *
   * @param cpuinfo what Linux says of it
   */
  public ImageResolver(
      BlobSource source, Platform platform, ImageLimits limits, String ref, Path cpuinfo) {
    this.source = source;
    this.platform = platform;
    this.limits = limits;
    this.ref = ref;
    this.cpuinfo = cpuinfo;
  }

  /**
   * The one image for the platform.
   *
   * @param roots the manifests and indexes that the reference may mean
   * @throws ImageException when there is none, or more than one, or something is wrong with it
   */
  public Manifest resolve(List<Descriptor> roots) throws IOException {
    direct = roots.size() == 1;
    Map<Digest, Manifest> images = matches(roots);
    if (images.isEmpty()
        && otherPlatforms.values().stream()
            .anyMatch(other -> Platforms.areAlike(platform, other))) {
      // What was built for newer processors only is run where this one is new enough; what was
      // built for all of them, if there is that, on all of them.
      Platform wanted = platform;
      platform = ProcessorVariant.highest(platform, cpuinfo);
      images = platform.equals(wanted) ? images : matches(roots);
    }
    if (images.size() == 1) {
      return images.values().iterator().next();
    }
    throw images.isEmpty() ? noMatch() : ambiguous(roots);
  }

  private Map<Digest, Manifest> matches(List<Descriptor> roots) throws IOException {
    Map<Digest, Manifest> images = new LinkedHashMap<>();
    for (Descriptor root : roots) {
      Manifest image = firstMatch(root, 0);
      if (image != null) {
        images.putIfAbsent(image.descriptor().digest(), image);
      }
    }
    return images;
  }

  private ImageException noMatch() {
    if (!otherPlatforms.isEmpty()) {
      return new ImageException(
          ImageException.Reason.WRONG_PLATFORM,
          ref
              + " is not for "
              + platform
              + ", but for "
              + String.join(", ", otherPlatforms.keySet())
              + passedOver(),
          "Choose an image that was built for " + platform + ".",
          null);
    }
    if (otherTypes.isEmpty() && passedOver.size() == 1) {
      return passedOver.values().iterator().next();
    }
    return new ImageException(
        ImageException.Reason.UNSUPPORTED,
        ref
            + " is no container image"
            + (otherTypes.isEmpty() ? "" : ": it is of type " + String.join(", ", otherTypes))
            + passedOver(),
        "Choose an image that a container engine can run.",
        null);
  }

  /** What was passed over, for errors; not too much, and nothing where nothing was. */
  public String passedOver() {
    return passedOver.isEmpty()
        ? ""
        : "; passed over: "
            + passedOver.keySet().stream().limit(MAX_TOLD).collect(Collectors.joining("; "))
            + (passedOver.size() > MAX_TOLD ? "; and more" : "");
  }

  private void passOver(ImageException fault) {
    if (passedOver.size() <= MAX_TOLD) {
      passedOver.putIfAbsent(String.valueOf(fault.getMessage()), fault);
    }
  }

  private ImageException ambiguous(List<Descriptor> roots) {
    return new ImageException(
        ImageException.Reason.AMBIGUOUS,
        ref + " holds more than one image: " + names(roots),
        "Add a tag or a digest to the reference.",
        null);
  }

  /** Names of what a place holds, or digests where there are no names; not too many. */
  public static String names(List<Descriptor> roots) {
    return roots.stream()
        .limit(20)
        .map(root -> Objects.requireNonNullElse(root.refName(), root.digest().toString()))
        .collect(Collectors.joining(", "));
  }

  /** Finds what a digest refers to in indexes; null where it is not there. */
  public @Nullable Descriptor find(List<Descriptor> roots, Digest digest, int depth)
      throws IOException {
    for (Descriptor root : roots) {
      if (root.digest().equals(digest)) {
        return root;
      }
      if (MediaTypes.isIndex(root.mediaType()) && depth < MAX_DEPTH) {
        Descriptor found = find(readIndex(root), digest, depth + 1);
        if (found != null) {
          return found;
        }
      }
    }
    return null;
  }

  private @Nullable Manifest firstMatch(Descriptor descriptor, int depth) throws IOException {
    Platform said = descriptor.platform();
    if (said != null && Platforms.fitness(Platforms.complete(said, platform), platform) < 0) {
      addOther(said);
      return null;
    }
    if (MediaTypes.isManifest(descriptor.mediaType())) {
      return readManifest(descriptor, depth);
    }
    if (MediaTypes.isSchema1(descriptor.mediaType())) {
      throw Manifest.schema1();
    }
    if (!MediaTypes.isIndex(descriptor.mediaType())) {
      otherTypes.add(descriptor.mediaType());
      return null;
    }
    if (depth == MAX_DEPTH) {
      throw new ImageException(
          ImageException.Reason.TOO_LARGE,
          ref + " has indexes in indexes, more than " + MAX_DEPTH + " deep",
          null,
          null);
    }
    List<Descriptor> bestFirst = new ArrayList<>(readIndex(descriptor));
    bestFirst.sort(Comparator.comparingInt(this::fitness).reversed());
    for (Descriptor child : bestFirst) {
      Manifest image = firstMatch(child, depth + 1);
      if (image != null) {
        return image;
      }
    }
    return null;
  }

  private void addOther(Platform other) {
    if (!other.os().equals(UNKNOWN)) {
      otherPlatforms.put(other.toString(), other);
    }
  }

  /** What does not say its whole platform comes last. */
  private int fitness(Descriptor descriptor) {
    return descriptor.platform() == null ? -1 : Platforms.fitness(descriptor.platform(), platform);
  }

  private List<Descriptor> readIndex(Descriptor descriptor) throws IOException {
    OciJson json = read(descriptor, "index");
    Manifest.requireSchema(json);
    if (json.has("layers") || json.has("config")) {
      throw json.fault("manifests", "an index has manifests, a manifest has layers");
    }
    return entries(json);
  }

  /** What an index refers to; an entry that says wrong things of itself is in nobody's way. */
  public List<Descriptor> entries(OciJson index) {
    List<Descriptor> entries = new ArrayList<>();
    for (OciJson entry : index.objects("manifests")) {
      try {
        entries.add(Descriptor.parse(entry));
      } catch (ImageException e) {
        passOver(e);
      }
    }
    return entries;
  }

  private @Nullable Manifest readManifest(Descriptor descriptor, int depth) throws IOException {
    Manifest.Parts parts =
        Manifest.parse(read(descriptor, "manifest"), descriptor.mediaType(), limits);
    if (!MediaTypes.isConfig(parts.config().mediaType(), descriptor.mediaType())) {
      otherTypes.add(parts.config().mediaType());
      return null;
    }
    if (parts.otherContent() != null) {
      passOver(parts.otherContent());
      return null;
    }
    Platform said = descriptor.platform();
    Manifest image =
        Manifest.of(
            descriptor,
            parts,
            read(parts.config(), "configuration"),
            said == null ? platform : Platforms.complete(said, platform));
    Platform own = image.config().platform();
    // Builders write odd variants, such as "v8" for what was built for amd64 on an Apple Silicon
    // machine; where somebody named the image, or an index its platform, that counts.
    boolean vouched = (direct && depth == 0) || (said != null && Platforms.isComplete(said));
    if (vouched ? !Platforms.areAlike(own, platform) : Platforms.fitness(own, platform) < 0) {
      addOther(own);
      return null;
    }
    return image;
  }

  private OciJson read(Descriptor blob, String what) throws IOException {
    if (++documents > MAX_DOCUMENTS) {
      throw new ImageException(
          ImageException.Reason.TOO_LARGE,
          ref + " has more than " + MAX_DOCUMENTS + " manifests and indexes",
          null,
          null);
    }
    String name = "The " + what + " " + blob.digest();
    if (blob.size() > limits.jsonSize().bytes()) {
      throw new ImageException(
          ImageException.Reason.TOO_LARGE,
          name + " has " + blob.size() + " bytes, more than the limit of " + limits.jsonSize(),
          null,
          null);
    }
    return OciJson.parse(VerifyingInputStream.readAll(source, blob), name);
  }
}
