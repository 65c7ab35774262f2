// SPDX-License-Identifier: Apache-2.0
/**
 * Reads tar archives as layers of images are: ustar, PAX and GNU, with names and extended
 * attributes as the bytes that they are; a leaf that knows nothing of OCI and trusts nothing.
 *
 * <p>Our own because readers at hand decode PAX values as text, which destroys file capabilities,
 * ACLs and names that are no UTF-8.
 */
@NullMarked
package dev.nacelle.image.tar;

import org.jspecify.annotations.NullMarked;
