// SPDX-License-Identifier: Apache-2.0
/** What Java Flight Recorder gets to know of the library's work. */
@NullMarked
package dev.nacelle.internal.jfr;

import org.jspecify.annotations.NullMarked;
