// SPDX-License-Identifier: Apache-2.0
/** Layers: unpacked while they arrive, and applied to the tree that becomes a filesystem. */
@NullMarked
package dev.nacelle.image.layer;

import org.jspecify.annotations.NullMarked;
