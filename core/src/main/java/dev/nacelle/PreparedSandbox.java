// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.KernelRef;

/**
 * What {@link Nacelle#prepare} has put into the cache: the very things that a sandbox of that
 * specification would be started from. Immutable. More may be told in later versions, so it is
 * Nacelle that implements this.
 */
public interface PreparedSandbox {
  /** The image, pinned to the digest of the manifest that was found for it. */
  ImageRef image();

  /** The digest of the image's manifest. */
  Digest imageDigest();

  /** What the image's layers take, unpacked to a filesystem. */
  DataSize imageSize();

  /**
   * The kernel, pinned to what was found: it resolves to this kernel or to nothing. {@link
   * KernelRef#digest()} is its digest.
   */
  KernelRef kernel();

  /** The kernel's release, as {@code uname -r} prints it in the guest. */
  String kernelRelease();

  /** What the kernel takes, unpacked, without its modules. */
  DataSize kernelSize();

  /** What the initial filesystem takes, with the modules that are loaded. */
  DataSize initramfsSize();
}
