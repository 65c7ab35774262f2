// SPDX-License-Identifier: Apache-2.0
/**
 * Where blobs of images come from: registries, layouts, archives; and how layers are downloaded.
 */
@NullMarked
package dev.nacelle.image.origin;

import org.jspecify.annotations.NullMarked;
