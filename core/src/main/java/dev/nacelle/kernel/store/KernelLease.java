// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.internal.FileCache;
import dev.nacelle.spi.GuestDriver;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A kernel that stays in its store as long as this is open, whoever {@linkplain KernelStore#prune
 * prunes} it, and at the longest as long as this process lives. Safe for use from several threads.
 */
public final class KernelLease implements AutoCloseable {
  private final KernelStore store;
  private final ResolvedKernel kernel;
  private final List<FileCache.Lease> files = new ArrayList<>();
  private boolean closed;

  KernelLease(KernelStore store, ResolvedKernel kernel) {
    this.store = store;
    this.kernel = kernel;
  }

  /** The kernel. */
  public ResolvedKernel kernel() {
    return kernel;
  }

  /** As {@link KernelStore#initramfs}, and keeps it as long as the kernel. */
  public Path initramfs(GuestAgentBinary agent, List<GuestDriver> drivers, KernelDemands demands) {
    FileCache.Lease lease = store.leaseInitramfs(kernel, agent, drivers, demands);
    add(lease);
    return lease.file();
  }

  /** Keeps that, too; or not, where this was closed meanwhile. */
  synchronized void add(FileCache.Lease file) {
    if (closed) {
      file.close();
    } else {
      files.add(file);
    }
  }

  /** Gives it back. Idempotent; does not throw. */
  @Override
  public synchronized void close() {
    closed = true;
    files.forEach(FileCache.Lease::close);
    files.clear();
  }
}
