// SPDX-License-Identifier: Apache-2.0
/** Virtual processors: their threads, and what makes them leave the guest. */
@NullMarked
package dev.nacelle.kvm.vcpu;

import org.jspecify.annotations.NullMarked;
