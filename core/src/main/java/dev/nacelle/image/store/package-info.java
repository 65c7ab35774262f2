// SPDX-License-Identifier: Apache-2.0
/**
 * OCI images: from a reference to one read-only ext4 filesystem image, cached by digest.
 *
 * <p>An {@link dev.nacelle.image.store.ImageStore} resolves an {@link dev.nacelle.image.ImageRef}:
 * it finds the manifest for the platform, in a registry, a layout or an archive, and streams each
 * layer once, from its blob through the decoder and the tar reader to the blocks of the filesystem,
 * with the digests of the blob and of the unpacked layer taken on the way. Nothing of a layer is
 * ever created as a file on the host, so there is no path to escape by and no right to be had;
 * limits ({@link dev.nacelle.image.oci.ImageLimits}) bound what an image can cost.
 */
@NullMarked
package dev.nacelle.image.store;

import org.jspecify.annotations.NullMarked;
