// SPDX-License-Identifier: Apache-2.0

/**
 * What isolation costs: the same image, unmodified, as a bare process, in containers, and in
 * machines of its own. {@link dev.nacelle.isolation.Isolation} is one way to run it.
 */
@NullMarked
package dev.nacelle.isolation;

import org.jspecify.annotations.NullMarked;
