// SPDX-License-Identifier: Apache-2.0
/** What a guest finds in its memory and registers at its first instruction. */
@NullMarked
package dev.nacelle.kvm.boot;

import org.jspecify.annotations.NullMarked;
