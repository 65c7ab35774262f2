// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.DataSize;
import dev.nacelle.FetchListener;
import dev.nacelle.ImageException;
import dev.nacelle.KernelException;
import dev.nacelle.PackageProgress;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.Stage;
import dev.nacelle.image.Digest;
import dev.nacelle.image.Platform;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.image.store.StorePruner;
import dev.nacelle.internal.DirectoryLocks;
import dev.nacelle.internal.FileCache;
import dev.nacelle.internal.Interruption;
import dev.nacelle.internal.ListenerGuard;
import dev.nacelle.internal.RegularFile;
import dev.nacelle.internal.Shortage;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.spi.GuestDriver;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Makes kernels ready to boot, and keeps everything that took time in a directory of its own.
 *
 * <p>The first use of a kernel takes seconds (fetching, unpacking, checking), each later one a
 * millisecond or so, in this process and in others that share the directory. Entries are named by
 * digest and never change; a crash leaves nothing that is later believed. {@link #prune} gets space
 * back. Safe for use from several threads and processes.
 */
public final class KernelStore {
  /** Changes when what is unpacked from the same kernel would be written differently. */
  private static final String KERNEL_FORMAT = "3";

  /** Changes when the same kernel and agent would give another initramfs. */
  private static final String INITRAMFS_FORMAT = "3";

  /** What the default stands for: the series whose artifact comes with this library. */
  private static final KernelRef DEFAULT = KernelRef.nacelle("6.12");

  /** Whoever looks a kernel up has a share of this lock; who prunes has it alone. */
  private static final String IN_USE = "in use";

  private static final Duration FETCH_DEADLINE = Duration.ofMinutes(10);

  private final Path directory;
  private final DirectoryLocks locks;
  private final AptKernels apt;
  private final BundledKernels bundled;
  private final BuiltKernels built;
  private final ImageStore images;
  private final FetchListener listener;
  private final FileCache packages;
  private final FileCache kernels;
  private final FileCache initramfs;
  private final FileCache names;
  private final FileDigests digests;

  /** A file in hand, and what its bytes are. */
  private record Source(Path file, String sha256) {}

  /** Writes a vmlinux into an empty file, and says what it is. */
  private interface Unpacker {
    Vmlinux unpack(Path file) throws IOException;
  }

  /** Adds what is known of a kernel from elsewhere; refuses one that does not go with that. */
  private interface Describer {
    KernelFacts describe(Vmlinux vmlinux) throws IOException;
  }

  /**
   * As {@link #KernelStore(Path, ImageStore, FetchListener)}, with a store of images in the same
   * directory.
   */
  public KernelStore(Path directory) {
    this(directory, new ImageStore(directory.resolve("images")), progress -> {});
  }

  /**
   * @param directory where to keep things; created when absent. A kernel takes 50 to 150 MB.
   * @param images pulls and reads the images that kernels are in
   * @param listener is told how packages arrive
   */
  public KernelStore(Path directory, ImageStore images, FetchListener listener) {
    this(
        directory,
        images,
        listener,
        AptKernels.ofThisMachine(),
        BundledKernels.besideThisLibrary(),
        BuiltKernels.ofThisUser());
  }

  KernelStore(
      Path directory,
      ImageStore images,
      FetchListener listener,
      AptKernels apt,
      BundledKernels bundled,
      BuiltKernels built) {
    this.directory = directory.toAbsolutePath();
    this.locks = new DirectoryLocks(this.directory);
    this.images = images;
    this.listener = listener;
    this.apt = apt;
    this.bundled = bundled;
    this.built = built;
    packages = new FileCache(directory.resolve("packages"));
    kernels = new FileCache(directory.resolve("kernels"));
    initramfs = new FileCache(directory.resolve("initramfs"));
    names = new FileCache(directory.resolve("names"));
    digests = new FileDigests(names);
  }

  /**
   * As {@link #resolve(KernelRef, Duration, PullPolicy)}, with ten minutes to fetch a package, and
   * pulling images that are missing.
   */
  public ResolvedKernel resolve(KernelRef ref) {
    return resolve(ref, FETCH_DEADLINE, PullPolicy.MISSING);
  }

  /**
   * Finds a kernel, unpacks and checks it.
   *
   * <p>A {@code debian:} reference without a pin means what apt's lists say now: the same kernel
   * until the next {@code apt-get update} that knows a newer one. An {@code image:} in a registry
   * without a pin means what it meant when it was first pulled, unless the policy says otherwise.
   *
   * @param fetchDeadline how long looking up a package, and fetching it, may take, each; pulling
   *     images has the timeouts of the image store's registry options
   * @param policy when the registry of an image is asked
   * @throws KernelException when it cannot be found or used, or is not what it is pinned to
   */
  public ResolvedKernel resolve(KernelRef ref, Duration fetchDeadline, PullPolicy policy) {
    try {
      return switch (ref.scheme()) {
        case FILE -> resolveFile(ref, local(ref, Path.of(ref.name())));
        case DEB -> resolvePackage(ref, local(ref, Path.of(ref.name())));
        case NACELLE -> resolveOwn(ref, ref);
        case DEFAULT -> resolveOwn(ref, DEFAULT);
        case DEBIAN -> requireSeries(resolvePackage(ref, fetch(ref, fetchDeadline)));
        case IMAGE -> resolveImage(ref, policy);
      };
    } catch (ImageException e) {
      throw new KernelException(
          reason(e.reason()),
          "The kernel " + ref + " cannot be had: " + Remedies.without(e),
          e.remedy().orElse(null),
          e);
    } catch (IOException e) {
      Interruption.rethrow(Stage.KERNEL, "making the kernel " + ref + " ready", e);
      throw new KernelException(
          KernelException.Reason.HOST_DISK,
          "The kernel " + ref + " cannot be made ready: " + e,
          remedy(e),
          e);
    }
  }

  /** What a fault of the image that a kernel is in means for the kernel. */
  private static KernelException.Reason reason(ImageException.Reason image) {
    return switch (image) {
      case NOT_FOUND, NOT_PULLED -> KernelException.Reason.NOT_FOUND;
      case NETWORK, RATE_LIMITED -> KernelException.Reason.NETWORK;
      case UNAUTHORIZED, UNTRUSTED, REGISTRY_FAULT, CONFIGURATION, AMBIGUOUS ->
          KernelException.Reason.IMAGE;
      case DAMAGED -> KernelException.Reason.DAMAGED;
      case TOO_LARGE -> KernelException.Reason.TOO_LARGE;
      case WRONG_PLATFORM, UNSUPPORTED -> KernelException.Reason.UNSUPPORTED;
      case HOST_DISK -> KernelException.Reason.HOST_DISK;
      case CHANGING -> KernelException.Reason.CHANGING;
    };
  }

  /** A kernel of our own: the one that came with the library, else the one built by this user. */
  private ResolvedKernel resolveOwn(KernelRef asked, KernelRef ref) throws IOException {
    String series = ref.name();
    Optional<BundledKernels.Bundled> artifact = bundled.find(series);
    Optional<Path> file = built.vmlinux(series);
    String pin = pin(ref);
    if (artifact.isPresent()) {
      BundledKernels.Bundled kernel = artifact.get();
      if (pin == null || pin.equals(kernel.sha256())) {
        return resolveVmlinux(
            ref,
            kernel.sha256(),
            "artifact " + kernel.artifact() + ", built from " + kernel.source(),
            null,
            vmlinux -> {
              bundled.unpack(kernel, vmlinux);
              return Vmlinux.inspect(ref.toString(), vmlinux);
            },
            found -> KernelFacts.of(found, "", found.config()));
      }
      if (file.isEmpty()) {
        throw new KernelException(
            KernelException.Reason.PIN_DIFFERS,
            ref
                + " is not what it is pinned to: "
                + kernel.artifact()
                + " has the digest sha256:"
                + kernel.sha256(),
            "Change the pin if the new content is wanted, or use the version of "
                + kernel.artifact()
                + " that has the old one.",
            null);
      }
    }
    if (file.isEmpty()) {
      throw noKernelOfOurOwn(asked, series);
    }
    return resolveFile(ref, local(ref, file.get()));
  }

  private KernelException noKernelOfOurOwn(KernelRef asked, String series) {
    String artifact = BundledKernels.artifact(series);
    boolean published = series.equals(DEFAULT.name());
    return new KernelException(
        KernelException.Reason.NOT_FOUND,
        "There is no kernel "
            + asked
            + ": no "
            + artifact
            + " among this program's dependencies, and none that was built here, as "
            + built.place(series),
        published
            ? "Add the dependency dev.nacelle:"
                + artifact
                + " (dev.nacelle:nacelle brings it), or name another kernel."
            : "Run guest-agent/kernel/build " + series + ", or name another kernel.",
        null);
  }

  /** The digits of the digest that a reference is pinned to; null where it is not. */
  private static @Nullable String pin(KernelRef ref) {
    return ref.digest().map(Digest::hex).orElse(null);
  }

  private Source local(KernelRef ref, Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new KernelException(
          KernelException.Reason.NOT_FOUND,
          ref
              + (Files.exists(file) ? " does not name a file: " : " does not exist: ")
              + file.toAbsolutePath(),
          null,
          null);
    }
    long size = Files.size(file);
    long limit =
        ref.scheme() == KernelRef.Scheme.DEB ? DebPackage.MAX_SIZE : KernelPayload.MAX_UNPACKED;
    if (size > limit) {
      throw new KernelException(
          KernelException.Reason.TOO_LARGE,
          ref + " is too large for a kernel: " + size + " bytes; at most " + limit + " are taken",
          "A kernel with its debug symbols becomes smaller with strip --strip-debug.",
          null);
    }
    String sha256 = digests.sha256(file);
    String pin = pin(ref);
    if (pin != null && !pin.equals(sha256)) {
      throw new KernelException(
          KernelException.Reason.PIN_DIFFERS,
          ref + " is not what it is pinned to: " + file + " has the digest sha256:" + sha256,
          "Change the pin if the new content is wanted.",
          null);
    }
    return new Source(file, sha256);
  }

  private Source fetch(KernelRef ref, Duration deadline) throws IOException {
    String pin = pin(ref);
    if (pin != null) {
      return new Source(
          packages.resume(
              pin + ".deb",
              () -> {},
              file -> download(ref, pinned(ref, pin, deadline), file, deadline)),
          pin);
    }
    try {
      return fetchNewest(ref, deadline);
    } catch (KernelException e) {
      KernelRef cached = newestCached(ref.name());
      if (cached == null) {
        throw e;
      }
      String remedy = "Ask for " + cached + ", which is in the cache and needs no apt.";
      throw new KernelException(
          e.reason(),
          Remedies.without(e),
          e.remedy().map(other -> remedy + " Or: " + other).orElse(remedy),
          e);
    }
  }

  private void download(KernelRef ref, AptKernels.Candidate candidate, Path file, Duration deadline)
      throws IOException {
    Digest digest = new Digest(Digest.Algorithm.SHA256, candidate.sha256());
    ListenerGuard listening = new ListenerGuard("a listener of fetches");
    apt.download(
        candidate,
        file,
        deadline,
        (state, done, total) -> {
          String name = candidate.name();
          DataSize there = DataSize.bytes(done);
          PackageProgress progress =
              total == 0
                  ? PackageProgress.of(ref, name, digest, state, there)
                  : PackageProgress.of(ref, name, digest, state, there, DataSize.bytes(total));
          listening.run(() -> listener.onProgress(progress));
        });
  }

  private Source fetchNewest(KernelRef ref, Duration deadline) throws IOException {
    Path found =
        names.get(
            Sha256.hex((ref + "\n" + apt.stateFingerprint()).getBytes(StandardCharsets.UTF_8))
                + ".debian",
            file -> {
              AptKernels.Candidate newest = apt.offered(ref.name(), deadline).get(0);
              Files.writeString(
                  file, newest.name() + "\n" + newest.version() + "\n" + newest.sha256());
            });
    List<String> parts = Files.readAllLines(found);
    if (parts.size() != 3) {
      throw new IOException(found + " is damaged; delete it");
    }
    AptKernels.Candidate newest =
        new AptKernels.Candidate(parts.get(0), parts.get(1), parts.get(2));
    Path deb =
        packages.resume(
            newest.sha256() + ".deb", () -> {}, file -> download(ref, newest, file, deadline));
    return new Source(deb, newest.sha256());
  }

  /** The newest kernel of a series that was unpacked from a package which is still there. */
  private @Nullable KernelRef newestCached(String series) throws IOException {
    String newest = "";
    String digits = "";
    for (FileCache.Entry entry : packages.entries()) {
      String sha256 = entry.key().substring(0, Math.min(64, entry.key().length()));
      Optional<FileCache.Lease> facts =
          entry.key().equals(sha256 + ".deb")
              ? kernels.find(key(sha256, "facts"))
              : Optional.empty();
      if (facts.isPresent()) {
        try (FileCache.Lease lease = facts.get()) {
          String version = KernelFacts.read(lease.file()).version();
          if (isOfSeries(version, series) && AptKernels.compareVersions(version, newest) > 0) {
            newest = version;
            digits = sha256;
          }
        }
      }
    }
    return newest.isEmpty()
        ? null
        : KernelRef.debian(series).withDigest(new Digest(Digest.Algorithm.SHA256, digits));
  }

  private static boolean isOfSeries(String version, String series) {
    boolean longer = version.length() > series.length();
    return version.startsWith(series)
        && !(longer && Character.isLetterOrDigit(version.charAt(series.length())));
  }

  private AptKernels.Candidate pinned(KernelRef ref, String pin, Duration deadline)
      throws IOException {
    List<AptKernels.Candidate> offered = apt.offered(ref.name(), deadline);
    return offered.stream()
        .filter(candidate -> candidate.sha256().equals(pin))
        .findFirst()
        .orElseThrow(
            () ->
                new KernelException(
                    KernelException.Reason.PIN_DIFFERS,
                    ref
                        + " cannot be found: apt offers no package with that digest, but "
                        + offered.stream()
                            .map(c -> c.name() + " with sha256:" + c.sha256())
                            .limit(5)
                            .collect(Collectors.joining(", ")),
                    "Change the pin, or keep the package file and use deb:PATH.",
                    null));
  }

  /** A pin alone finds any package that is in the cache; it must be one of that series too. */
  private static ResolvedKernel requireSeries(ResolvedKernel kernel) {
    if (!isOfSeries(kernel.version(), kernel.ref().name())) {
      throw new KernelException(
          KernelException.Reason.PIN_DIFFERS,
          kernel.ref() + " is pinned to another series: that package is " + kernel.version(),
          "Change the series or the pin.",
          null);
    }
    return kernel;
  }

  private ResolvedKernel resolvePackage(KernelRef ref, Source source) throws IOException {
    return resolveArchive(
        ref,
        source.sha256(),
        "file " + source.file(),
        archive -> {
          MessageDigest digest = Sha256.digest();
          try (InputStream deb = Sha256.digesting(RegularFile.open(source.file()), digest);
              KernelArchive.Writer writer =
                  new KernelArchive.Writer(Files.newOutputStream(archive))) {
            DebPackage.extract(ref.toString(), deb, writer);
            deb.transferTo(OutputStream.nullOutputStream());
          }
          requireUnchanged(ref, source, digest);
        });
  }

  private ResolvedKernel resolveImage(KernelRef ref, PullPolicy policy) throws IOException {
    String pin = pin(ref);
    if (pin != null) {
      // Unpacked before: then it needs no registry, also when the image was pruned.
      Optional<FileCache.Lease> unpacked = kernels.find(key(pin, "zip"));
      if (unpacked.isPresent()) {
        try (FileCache.Lease lease = unpacked.get()) {
          return resolveArchive(
              ref,
              pin,
              "image " + ref.imageRef().orElseThrow(),
              gone -> {
                throw new NoSuchFileException(gone.toString());
              });
        }
      }
    }
    return images.read(
        ref.imageRef().orElseThrow(),
        Platform.LINUX_AMD64,
        policy,
        image -> {
          if (image.digest().algorithm() != Digest.Algorithm.SHA256) {
            throw new KernelException(
                KernelException.Reason.UNSUPPORTED,
                ref + " is an image with the digest " + image.digest() + ", which is no sha256",
                "Copy it with a tool that names manifests by sha256, such as skopeo.",
                null);
          }
          return resolveArchive(
              ref,
              image.digest().hex(),
              "image " + image.ref().withDigest(image.digest()),
              archive -> LinuxKitImage.extract(ref.toString(), image, archive));
        });
  }

  /** A kernel that comes with its modules; {@code extractor} writes a {@link KernelArchive}. */
  private ResolvedKernel resolveArchive(
      KernelRef ref, String sha256, String source, FileCache.Maker extractor) throws IOException {
    String name = ref.toString();
    Path archive = kernels.get(key(sha256, "zip"), extractor);
    return resolveVmlinux(
        ref,
        sha256,
        source,
        archive,
        file -> {
          try (KernelArchive open = new KernelArchive(name, archive)) {
            Files.write(file, open.kernel());
          }
          return KernelImage.unpack(name, file);
        },
        found -> {
          try (KernelArchive open = new KernelArchive(name, archive)) {
            Set<String> versions = open.moduleVersions();
            if (!versions.isEmpty() && !versions.contains(found.version())) {
              throw new KernelException(
                  KernelException.Reason.DAMAGED,
                  name + " has the kernel " + found.version() + " and modules of " + versions,
                  "Use a package whose modules are those of its kernel.",
                  null);
            }
            return KernelFacts.of(
                found,
                open.packageName().orElse(""),
                open.config(found.version()).or(found::config));
          }
        });
  }

  private ResolvedKernel resolveFile(KernelRef ref, Source source) throws IOException {
    return resolveVmlinux(
        ref,
        source.sha256(),
        "file " + source.file(),
        null,
        file -> {
          copyVerified(ref, source, file);
          return KernelImage.unpack(ref.toString(), file);
        },
        found -> KernelFacts.of(found, "", found.config()));
  }

  private ResolvedKernel resolveVmlinux(
      KernelRef ref,
      String sha256,
      String source,
      @Nullable Path archive,
      Unpacker unpacker,
      Describer describer)
      throws IOException {
    AtomicReference<@Nullable Vmlinux> unpacked = new AtomicReference<>();
    Path vmlinux = kernels.get(key(sha256, "vmlinux"), file -> unpacked.set(unpacker.unpack(file)));
    Path facts =
        kernels.get(
            key(sha256, "facts"),
            file -> {
              Vmlinux found = unpacked.get();
              // Unpacked before, by who did not come as far as to write this.
              found = found != null ? found : Vmlinux.inspect(ref.toString(), vmlinux);
              describer.describe(found).write(file);
            });
    KernelFacts known = KernelFacts.read(facts);
    return new ResolvedKernel(
        ref,
        sha256,
        known.packageName().isEmpty() ? source : "package " + known.packageName(),
        known,
        vmlinux,
        archive);
  }

  /** Copies the file into an empty one, while it is what its digest says. */
  private static void copyVerified(KernelRef ref, Source source, Path file) throws IOException {
    MessageDigest digest = Sha256.digest();
    try (InputStream in = Sha256.digesting(RegularFile.open(source.file()), digest);
        OutputStream out = Files.newOutputStream(file)) {
      in.transferTo(out);
    }
    requireUnchanged(ref, source, digest);
  }

  /**
   * The file that was named may be replaced at any time, and what is made of it is kept under its
   * digest: so what has been read is held to that before it is kept.
   */
  private static void requireUnchanged(KernelRef ref, Source source, MessageDigest read) {
    if (!HexFormat.of().formatHex(read.digest()).equals(source.sha256())) {
      throw FileDigests.changing(ref);
    }
  }

  private static String key(String sha256, String ending) {
    return sha256 + "." + KERNEL_FORMAT + "." + ending;
  }

  /**
   * Keeps a kernel in the store.
   *
   * @param resolving finds it in this store
   */
  public KernelLease lease(Supplier<ResolvedKernel> resolving) {
    // From before it is looked up, so that nobody prunes it before it is leased.
    try (DirectoryLocks.Held inUse = use()) {
      ResolvedKernel kernel = resolving.get();
      KernelLease lease = new KernelLease(this, kernel);
      try {
        for (String ending : List.of("vmlinux", "facts", "zip")) {
          kernels.find(key(kernel.sha256(), ending)).ifPresent(lease::add);
        }
        return lease;
      } catch (IOException | RuntimeException e) {
        lease.close();
        throw e;
      }
    } catch (IOException e) {
      throw new KernelException(
          KernelException.Reason.HOST_DISK,
          "The cache of kernels " + directory + " cannot be used: " + e,
          Shortage.remedy(e, "See that this process may write to it."),
          e);
    }
  }

  private String remedy(IOException failure) {
    return Shortage.remedy(
        failure,
        "See that " + directory + " can be written to and has space (pruning makes some).");
  }

  /** Null where nobody but its owner can change the cache, who is to do so when nothing runs. */
  private DirectoryLocks.@Nullable Held use() throws IOException {
    boolean readOnly = Files.exists(directory) && !Files.isWritable(directory);
    return readOnly ? null : locks.shared(IN_USE);
  }

  /**
   * Removes what was not used for long, or what there is too much of, from the store; and what
   * killed processes left half-made. What a {@linkplain #lease lease} keeps stays, in whatever
   * process that is; and nothing goes while any process looks a kernel up, which the result tells.
   *
   * @throws KernelException when the directory cannot be read, or not be written to
   */
  public PruneResult prune(PrunePolicy policy) {
    PruneResult nothing = PruneResult.of(List.of(), DataSize.bytes(0), DataSize.bytes(0), false);
    try {
      if (!Files.exists(directory)) {
        return nothing;
      }
      try (DirectoryLocks.Held unused = locks.tryExclusive(IN_USE)) {
        if (unused == null) {
          return PruneResult.of(List.of(), nothing.freed(), DataSize.bytes(size()), true);
        }
        List<StorePruner.Part> parts =
            List.of(
                new StorePruner.Part(PruneResult.Kind.PACKAGE, packages),
                new StorePruner.Part(PruneResult.Kind.KERNEL, kernels),
                new StorePruner.Part(PruneResult.Kind.INITRAMFS, initramfs),
                new StorePruner.Part(PruneResult.Kind.NAME, names));
        return new StorePruner(parts, false, policy, Instant.now()).prune();
      }
    } catch (IOException e) {
      throw new KernelException(
          KernelException.Reason.HOST_DISK,
          "The store " + directory + " cannot be pruned: " + e,
          "See that this process may write to it.",
          e);
    }
  }

  private long size() throws IOException {
    long bytes = 0;
    for (FileCache part : List.of(packages, kernels, initramfs)) {
      for (FileCache.Entry entry : part.entries()) {
        bytes += entry.bytes();
      }
    }
    return bytes;
  }

  /**
   * As {@link #initramfs(ResolvedKernel, GuestAgentBinary, List, KernelDemands)}, without demands.
   */
  public Path initramfs(ResolvedKernel kernel, GuestAgentBinary agent, List<GuestDriver> drivers) {
    return initramfs(kernel, agent, drivers, KernelDemands.NONE);
  }

  /**
   * The initial filesystem for that kernel: the agent, and of what the utility virtual machine
   * needs and the workload asks for, the modules that the kernel does not have built in.
   *
   * @param drivers those of the machine's devices, in the order of loading
   * @return a cpio archive in the cache; not to be changed
   * @throws KernelException when the kernel lacks something that is needed, naming the option
   */
  public Path initramfs(
      ResolvedKernel kernel,
      GuestAgentBinary agent,
      List<GuestDriver> drivers,
      KernelDemands demands) {
    try (FileCache.Lease lease = leaseInitramfs(kernel, agent, drivers, demands)) {
      return lease.file();
    }
  }

  FileCache.Lease leaseInitramfs(
      ResolvedKernel kernel,
      GuestAgentBinary agent,
      List<GuestDriver> drivers,
      KernelDemands demands) {
    // Not in the initramfs, so one serves every number of processors, and every container.
    kernel.requireProcessors(demands.cpus());
    kernel.requireOptions(demands.options());
    List<GuestRequirement> requirements = GuestRequirement.of(drivers, demands);
    String inputs =
        Stream.of(
                Stream.of(INITRAMFS_FORMAT, kernel.sha256(), agent.sha256()),
                requirements.stream().map(GuestRequirement::option),
                demands.modules().stream().map(module -> "module " + module))
            .flatMap(Function.identity())
            .collect(Collectors.joining("\n"));
    try {
      return initramfs.lease(
          Sha256.hex(inputs.getBytes(StandardCharsets.UTF_8)) + ".cpio",
          file ->
              Initramfs.write(
                  file, agent.content(), ModuleSelection.select(kernel, requirements, demands)));
    } catch (IOException e) {
      throw new KernelException(
          KernelException.Reason.HOST_DISK,
          "No initramfs can be made for " + kernel + ": " + e,
          remedy(e),
          e);
    }
  }
}
