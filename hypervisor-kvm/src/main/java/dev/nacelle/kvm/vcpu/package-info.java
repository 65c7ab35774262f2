// SPDX-License-Identifier: Apache-2.0
/** Virtual processors: their threads, what makes them leave the guest, and what CPUID tells. */
@NullMarked
package dev.nacelle.kvm.vcpu;

import org.jspecify.annotations.NullMarked;
