// SPDX-License-Identifier: Apache-2.0
/** Seccomp profiles as programs of classic BPF. */
@NullMarked
package dev.nacelle.seccomp;

import org.jspecify.annotations.NullMarked;
