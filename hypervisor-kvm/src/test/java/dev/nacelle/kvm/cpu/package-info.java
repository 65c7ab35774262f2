// SPDX-License-Identifier: Apache-2.0
/** Tests of the virtual processors. */
@NullMarked
package dev.nacelle.kvm.cpu;

import org.jspecify.annotations.NullMarked;
