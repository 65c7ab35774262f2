// SPDX-License-Identifier: Apache-2.0
/** Stand-ins for a hypervisor and its guest, for tests that need no kernel. */
@NullMarked
package dev.nacelle.fake;

import org.jspecify.annotations.NullMarked;
