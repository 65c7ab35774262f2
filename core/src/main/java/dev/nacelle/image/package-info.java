// SPDX-License-Identifier: Apache-2.0
/** Images, as users name them: references, platforms, digests, and how registries are talked to. */
@NullMarked
package dev.nacelle.image;

import org.jspecify.annotations.NullMarked;
