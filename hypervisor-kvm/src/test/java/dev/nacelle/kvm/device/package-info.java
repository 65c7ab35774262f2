// SPDX-License-Identifier: Apache-2.0
/** Tests of the devices, and what they stand on instead of KVM. */
@NullMarked
package dev.nacelle.kvm.device;

import org.jspecify.annotations.NullMarked;
