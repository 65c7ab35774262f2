// SPDX-License-Identifier: Apache-2.0
/** Tests of the boot protocols. */
@NullMarked
package dev.nacelle.kvm.boot;

import org.jspecify.annotations.NullMarked;
