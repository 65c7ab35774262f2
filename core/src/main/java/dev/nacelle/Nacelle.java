// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.kernel.KernelLockMode;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.List;
import java.util.ServiceLoader;
import java.util.concurrent.CompletableFuture;

/**
 * The runtime: a hypervisor, caches of images and kernels, and the threads that serve sandboxes.
 * Made once, shared, and closed at the end. Safe for use from several threads. Not meant to be
 * implemented by others.
 *
 * <p>All of its threads are daemon threads and end with {@link #close()}. It installs no shutdown
 * hook: virtual machines end with the process anyway.
 */
public interface Nacelle extends AutoCloseable {
  /**
   * A runtime with every default.
   *
   * @throws HypervisorUnavailableException when this host cannot run virtual machines, with what is
   *     wrong and how to mend it
   */
  static Nacelle create() {
    return builder().build();
  }

  /** To make a runtime with other than the defaults. */
  static Builder builder() {
    // By the library's own class loader, whatever the thread's is.
    return ServiceLoader.load(Builder.class, Nacelle.class.getClassLoader())
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalStateException(
                    "Nacelle's own META-INF/services is missing: pack its JAR as it is"));
  }

  /**
   * Finds out what this host can do, for each hypervisor on the class path or module path that is
   * made for its operating system and processor; where none is, each says so. Takes milliseconds
   * with KVM, with Hyper-V as long as making a machine, and leaves nothing behind. Empty when there
   * is no hypervisor.
   */
  static List<HostCheck> checkHost() {
    return builder().checkHost();
  }

  /**
   * Starts a sandbox and returns when it is ready.
   *
   * @throws HypervisorUnavailableException when this host's hypervisor cannot run Linux kernels as
   *     they are, with what it is that it cannot do; found out with the first sandbox
   * @throws ImageException when the image cannot be had
   * @throws KernelException when the kernel cannot be had, or cannot be used
   * @throws HypervisorException when no machine can be made as specified
   * @throws BootException when the guest died, when image and kernel were not at hand in
   *     {@linkplain SandboxSpec#fetchTimeout() time}, or the guest was not ready in {@linkplain
   *     SandboxSpec#startTimeout() time}
   * @throws CapacityException when there is no room for it within {@link Builder#maxSandboxes} or
   *     {@link Builder#maxGuestMemory}
   * @throws InterruptedOperationException when the thread is interrupted; what there is of it is
   *     being released then
   * @throws NacelleException when a {@linkplain SandboxSpec.Builder#publish published port} cannot
   *     be had of the host, with which; and when this runtime is closed meanwhile
   * @throws IllegalStateException when this runtime is closed
   */
  Sandbox start(SandboxSpec spec);

  /**
   * As {@link #start}, without waiting. Cancelling the future gives the attempt up, and so does
   * completing it in any other way, as {@link CompletableFuture#orTimeout} does.
   *
   * @return completes on a thread of this runtime's, where dependents may block
   * @throws IllegalStateException when this runtime is closed
   */
  CompletableFuture<Sandbox> startAsync(SandboxSpec spec);

  /**
   * The sandboxes that run: started here, and {@linkplain Sandbox#isAlive() not about to end}.
   *
   * @return a momentary picture, in the order in which they were ready; immutable
   */
  List<Sandbox> sandboxes();

  /**
   * Starts a program that is its own operating system, and returns when its machine runs.
   *
   * @throws CapacityException when there is no room for it
   * @throws HypervisorException when no machine can be made as specified, or the image is none
   * @throws IllegalStateException when this runtime is closed
   */
  Unikernel startUnikernel(UnikernelSpec spec);

  /**
   * Removes images that nobody uses from the cache directory: what was not used for long, or what
   * there is too much of. The image of a running sandbox stays, also of another process's.
   *
   * @throws ImageException when the cache directory cannot be written to
   */
  PruneResult pruneImages(PrunePolicy policy);

  /**
   * Removes kernels that nobody uses from the cache directory, as {@link #pruneImages} does images:
   * their packages, what was unpacked of them, and the initial filesystems that were made for them.
   * The kernel of a running sandbox stays, also of another process's; and nothing goes while any
   * process looks a kernel up, which the result tells. What went is fetched or made again when it
   * is next used.
   *
   * @throws KernelException when the cache directory cannot be written to
   */
  PruneResult pruneKernels(PrunePolicy policy);

  /**
   * Fills the cache directory with all that starting such a sandbox takes, on the calling thread:
   * the image, the kernel and its initramfs. A start of the same specification then waits for no
   * network.
   *
   * @return what was found, pinned: a specification with these references starts the same bytes
   * @throws ImageException when the image cannot be had
   * @throws KernelException when the kernel cannot be had, or cannot be used
   * @throws InterruptedOperationException when the thread is interrupted; what was downloaded stays
   * @throws IllegalStateException when this runtime is closed
   */
  PreparedSandbox prepare(SandboxSpec spec);

  /**
   * Makes an image of a disk, on the calling thread, to be kept and given to sandboxes: with what
   * is in the directory, or empty, and with a journal unless it can only be read. The file is
   * readable and writable for its owner alone, and takes as much of the disk as it has content,
   * where the file system can make holes in files.
   *
   * @param disk a copy of a directory, or an empty one
   * @param image the file, which must not be there yet; it has its name once it is whole. A process
   *     that is killed meanwhile leaves one beside it whose name ends in {@code .part}
   * @return {@link DataDisk#image} of the file, read-only if that disk is
   * @throws IllegalArgumentException when the disk is an image
   * @throws ImageException when the directory cannot be read, or be in a filesystem, or the image
   *     not be written; with the path
   * @throws InterruptedOperationException when the thread is interrupted; nothing is left then
   * @throws IllegalStateException when this runtime is closed
   */
  DataDisk makeDisk(DataDisk disk, Path image);

  /**
   * Closes every sandbox, gives up those that are starting, and releases everything. Returns when
   * nothing is left, which includes what was attached to this runtime's futures and still runs;
   * when it is called from there, it does not wait for that. Idempotent; every caller waits. Does
   * not throw.
   */
  @Override
  void close();

  /**
   * Makes a {@link Nacelle}; {@link Nacelle#builder()} finds it, as a service of this module. Not
   * safe for use from several threads, and not meant to be implemented by others.
   */
  interface Builder {
    /**
     * Where images and kernels are kept; the directory is created when absent, and may be shared by
     * several processes. The default is {@code nacelle} below {@code $XDG_CACHE_HOME}, or below
     * {@code ~/.cache}; on Windows below {@code %LOCALAPPDATA%}. What images and guests put there
     * is for this user alone: Nacelle sees to that on Linux, while on Windows its files have the
     * rights that this directory hands down.
     */
    Builder cacheDirectory(Path directory);

    /**
     * Where the {@linkplain WritableLayer#onDisk disks} of sandboxes are; the directory is created
     * when absent, and may be shared by several processes. It should be on a file system that has
     * sparse files, and not in memory; on Windows on NTFS that neither compresses nor encrypts it.
     * The default is {@code scratch} in the cache directory.
     */
    Builder scratchDirectory(Path directory);

    /**
     * Uses the hypervisor of that name: {@code "kvm"} or {@code "hyperv"}. The default is, of those
     * on the class path or module path that are made for this operating system and processor, the
     * first that works.
     */
    Builder hypervisor(String name);

    /** Talks to registries of images in this way; {@link RegistryOptions} says the defaults. */
    Builder registries(RegistryOptions options);

    /** When registries are asked, where a sandbox does not say; the default is MISSING. */
    Builder pullPolicy(PullPolicy policy);

    /**
     * Has a lock file say which kernels names such as {@code debian:6.12} stand for, so that all
     * machines with that file boot the same bytes. Names it does not know are resolved and added;
     * as {@link #kernelLock(Path, KernelLockMode)} with {@link KernelLockMode#ADD}.
     */
    Builder kernelLock(Path file);

    /**
     * Has a lock file say which kernels names stand for; {@link KernelLockMode} describes it. The
     * default is none: a name stands for whatever it does at the moment. With {@link #prepare} and
     * {@link KernelLockMode#UPDATE} a name in the file is brought up to date.
     */
    Builder kernelLock(Path file, KernelLockMode mode);

    /** Tells this listener how images and kernels arrive, also while preparing. */
    Builder fetchListener(FetchListener listener);

    /** Tells this listener of every sandbox, besides those that were given before. */
    Builder listener(SandboxListener listener);

    /**
     * How many sandboxes and unikernels there may be at a time, those that start included; by
     * default as many as the host has room for. One more is refused before anything of it is made,
     * with a {@link CapacityException}.
     *
     * @throws IllegalArgumentException when it is not positive
     */
    Builder maxSandboxes(int number);

    /**
     * How much memory their guests may take together: the sum of {@link SandboxSpec#memory()}, or
     * of unikernels', whatever they have touched of it. By default there is no limit, and a host
     * that runs out of memory kills whom it likes. What it does not cover is under Sizing in the
     * README. One for which there is no room is refused as with {@link #maxSandboxes}.
     *
     * @throws IllegalArgumentException when it is zero
     */
    Builder maxGuestMemory(DataSize memory);

    /**
     * How many threads carry the traffic with guests; the default is 2, or 1 on a host with a
     * single processor.
     *
     * @throws IllegalArgumentException when it is not between 1 and 64
     */
    Builder ioThreads(int number);

    /**
     * Whom names are asked of that sandboxes with a {@linkplain SandboxSpec.Builder#network
     * network} want resolved, one after the other where one does not answer. The default is whom
     * the host asks: what {@code /etc/resolv.conf} says, on Windows what the JDK finds out, for
     * which its module {@code jdk.naming.dns} is needed. A sandbox itself reaches none of them.
     *
     * @throws IllegalArgumentException when there are not 1 to 3, or one has no address or no port
     */
    Builder nameServers(List<InetSocketAddress> servers);

    /**
     * Opens the hypervisor.
     *
     * @throws HypervisorUnavailableException when this host cannot run virtual machines, with what
     *     is wrong and how to mend it
     */
    Nacelle build();

    /**
     * Fills the cache directory with all that starting such a sandbox takes: the image, the kernel
     * and its initramfs. That has the drivers of the hypervisor that was chosen, or else of the
     * first that is made for this platform; the hypervisor need not be usable, so it can be done
     * where services are built or installed. The first start is then as quick as any other. Of what
     * is there already, nothing is done again.
     *
     * @return what was found, pinned
     * @throws ImageException when the image cannot be had
     * @throws KernelException when the kernel cannot be had, or cannot be used
     * @throws HypervisorUnavailableException when no hypervisor is made for this platform
     */
    PreparedSandbox prepare(SandboxSpec spec);

    /**
     * Removes images that nobody uses from the cache directory, as {@link Nacelle#pruneImages} does
     * it. Needs no hypervisor.
     *
     * @throws ImageException when the cache directory cannot be written to
     */
    PruneResult pruneImages(PrunePolicy policy);

    /**
     * Removes kernels that nobody uses from the cache directory, as {@link Nacelle#pruneKernels}
     * does it. Needs no hypervisor.
     *
     * @throws KernelException when the cache directory cannot be written to
     */
    PruneResult pruneKernels(PrunePolicy policy);

    /** As {@link Nacelle#checkHost()}; of the chosen hypervisor alone, where one is. */
    List<HostCheck> checkHost();
  }
}
