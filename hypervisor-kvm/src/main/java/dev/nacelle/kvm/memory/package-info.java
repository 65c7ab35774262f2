// SPDX-License-Identifier: Apache-2.0
/** Bounds-checked, ordered access to the guest's memory, which the guest changes at any time. */
@NullMarked
package dev.nacelle.kvm.memory;

import org.jspecify.annotations.NullMarked;
