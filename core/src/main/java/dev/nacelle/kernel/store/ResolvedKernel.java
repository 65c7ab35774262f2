// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.image.Digest;
import dev.nacelle.internal.Shortage;
import dev.nacelle.kernel.KernelRef;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * A kernel that is ready to boot: unpacked, checked and in the cache. Immutable and safe for use
 * from several threads.
 */
public final class ResolvedKernel {
  private final KernelRef ref;
  private final String sha256;
  private final String source;
  private final KernelFacts facts;
  private final Path vmlinux;
  private final @Nullable Path archive;

  ResolvedKernel(
      KernelRef ref,
      String sha256,
      String source,
      KernelFacts facts,
      Path vmlinux,
      @Nullable Path archive) {
    this.ref = ref;
    this.sha256 = sha256;
    this.source = source;
    this.facts = facts;
    this.vmlinux = vmlinux;
    this.archive = archive;
  }

  /** What was asked for; for {@link KernelRef#defaultKernel()}, what that stands for. */
  public KernelRef ref() {
    return ref;
  }

  /** {@link #ref()}, pinned to what was found: it resolves to this kernel or to nothing. */
  public KernelRef pinnedRef() {
    return ref.withDigest(digest());
  }

  /** The release, as {@code uname -r} prints it in the guest, e.g. "6.1.0-56-cloud-amd64". */
  public String version() {
    return facts.version();
  }

  /** The build, as {@code uname -v} prints it in the guest, e.g. "#1 SMP PREEMPT_DYNAMIC ...". */
  public String build() {
    return facts.build();
  }

  /** The architecture, as {@code uname -m} prints it; always "x86_64" today. */
  public String architecture() {
    return "x86_64";
  }

  /**
   * Where it came from, for people: {@code package NAME VERSION}, {@code image REFERENCE} with its
   * digest, {@code artifact NAME} with what it was built from, or {@code file PATH}.
   */
  public String source() {
    return source;
  }

  /** The SHA-256 digest of the file that the reference names, or of the manifest of the image. */
  public Digest digest() {
    return new Digest(Digest.Algorithm.SHA256, sha256);
  }

  /** The uncompressed kernel, an ELF64 executable in the cache; not to be changed. */
  public Path vmlinux() {
    return vmlinux;
  }

  /** The configuration, when the package has it or the kernel embeds it. */
  public Optional<KernelConfig> config() {
    return facts.config();
  }

  /**
   * Names of the modules that came with the kernel, '-' written as '_'; empty for a bare file.
   *
   * @throws KernelException when the cache cannot be read
   */
  public Set<String> modules() {
    if (archive == null) {
      return Set.of();
    }
    try (KernelArchive open = new KernelArchive(ref.toString(), archive)) {
      return new TreeSet<>(open.modules(version()).keySet());
    } catch (IOException e) {
      throw new KernelException(
          KernelException.Reason.HOST_DISK,
          "The modules of " + ref + " cannot be read: " + e,
          Shortage.remedy(e, "See that the cache can be read."),
          e);
    }
  }

  /**
   * Names of what could be a module and is built into the kernel, as its package says.
   *
   * @throws KernelException when the cache cannot be read
   */
  public Set<String> builtInModules() {
    if (archive == null) {
      return Set.of();
    }
    try (KernelArchive open = new KernelArchive(ref.toString(), archive)) {
      return new TreeSet<>(open.builtIn(version()));
    } catch (IOException e) {
      throw new KernelException(
          KernelException.Reason.HOST_DISK,
          "The modules of " + ref + " cannot be read: " + e,
          Shortage.remedy(e, "See that the cache can be read."),
          e);
    }
  }

  /** Refuses a kernel whose configuration says that it starts fewer processors. */
  void requireProcessors(int wanted) {
    if (wanted == 1 || config().isEmpty()) {
      return;
    }
    String lacks =
        this + " cannot be used: it cannot run " + wanted + " processors, which are asked for: ";
    if (!config().get().isBuiltIn("SMP")) {
      throw new KernelException(
          KernelException.Reason.LACKS_OPTION,
          lacks + "CONFIG_SMP is not set in it",
          "Use a kernel built with CONFIG_SMP.",
          null);
    }
    String most = config().get().value("NR_CPUS").orElse("");
    if (most.matches("[0-9]{1,9}") && Integer.parseInt(most) < wanted) {
      throw new KernelException(
          KernelException.Reason.LACKS_OPTION,
          lacks + "it is built for CONFIG_NR_CPUS=" + most,
          "Ask for fewer, or use a kernel built with CONFIG_NR_CPUS=" + wanted + " or more.",
          null);
    }
  }

  /**
   * Refuses a kernel whose configuration says that it has not one of these options.
   *
   * @param options names without CONFIG_, and what each is needed for
   */
  void requireOptions(Map<String, String> options) {
    config()
        .ifPresent(
            config ->
                options.forEach(
                    (option, purpose) -> {
                      if (!config.isBuiltIn(option)) {
                        throw new KernelException(
                            KernelException.Reason.LACKS_OPTION,
                            this
                                + " cannot be used: it lacks CONFIG_"
                                + option
                                + ", needed "
                                + purpose,
                            "Use a kernel built with CONFIG_" + option + ", or do without.",
                            null);
                      }
                    }));
  }

  String sha256() {
    return sha256;
  }

  @Nullable Path archive() {
    return archive;
  }

  @Override
  public String toString() {
    return "kernel " + version() + " (" + pinnedRef() + ")";
  }
}
