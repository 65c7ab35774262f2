// SPDX-License-Identifier: Apache-2.0
/** What the machine is before anything runs in it: what there is of hardware, and where it is. */
@NullMarked
package dev.nacelle.kvm.platform;

import org.jspecify.annotations.NullMarked;
