// SPDX-License-Identifier: Apache-2.0
/** Tests of the public API; those with "Fake" in their set-up run without a kernel. */
@NullMarked
package dev.nacelle;

import org.jspecify.annotations.NullMarked;
