// SPDX-License-Identifier: Apache-2.0
/**
 * An image's documents: descriptors, manifests and indexes, which of them is for a platform, and
 * digests that are checked while bytes pass.
 */
@NullMarked
package dev.nacelle.image.oci;

import org.jspecify.annotations.NullMarked;
