// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.Digest;
import dev.nacelle.kernel.KernelRef;

/**
 * Where the package of a kernel stands on its way from a mirror. A package that is in the cache is
 * not told of.
 *
 * @param kernel that is fetched
 * @param name of the package
 * @param digest of the package file
 * @param done bytes that are on the disk
 * @param total bytes of the package; 0 as long as that is not known, as where apt itself downloads
 */
public record PackageProgress(
    KernelRef kernel, String name, Digest digest, State state, long done, long total)
    implements FetchProgress {}
