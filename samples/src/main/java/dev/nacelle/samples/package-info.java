// SPDX-License-Identifier: Apache-2.0
/** Programs that a user would copy. */
@NullMarked
package dev.nacelle.samples;

import org.jspecify.annotations.NullMarked;
