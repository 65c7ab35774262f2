// SPDX-License-Identifier: Apache-2.0
/** Kernels, as users name them: references, and the lock file that says what they stand for. */
@NullMarked
package dev.nacelle.kernel;

import org.jspecify.annotations.NullMarked;
