// SPDX-License-Identifier: Apache-2.0
/** Public API: a runtime, what to run in it, and handles on what runs. */
@NullMarked
package dev.nacelle;

import org.jspecify.annotations.NullMarked;
