// SPDX-License-Identifier: Apache-2.0
/** The hypervisor over Linux KVM: the provider, and the virtual machine put together. */
@NullMarked
package dev.nacelle.kvm;

import org.jspecify.annotations.NullMarked;
