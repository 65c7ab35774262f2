// SPDX-License-Identifier: Apache-2.0
/** Checks of values, for all packages; depends on none. */
@NullMarked
package dev.nacelle.internal.check;

import org.jspecify.annotations.NullMarked;
