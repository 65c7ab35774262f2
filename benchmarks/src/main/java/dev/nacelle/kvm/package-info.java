// SPDX-License-Identifier: Apache-2.0
/** Benchmarks that reach inside the KVM hypervisor, which its package makes possible. */
@NullMarked
package dev.nacelle.kvm;

import org.jspecify.annotations.NullMarked;
