// SPDX-License-Identifier: Apache-2.0
/** Tests of guest memory. */
@NullMarked
package dev.nacelle.kvm.memory;

import org.jspecify.annotations.NullMarked;
