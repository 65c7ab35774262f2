// SPDX-License-Identifier: Apache-2.0
/** What benchmarks need to know of how the KVM hypervisor boots. */
@NullMarked
package dev.nacelle.kvm.boot;

import org.jspecify.annotations.NullMarked;
