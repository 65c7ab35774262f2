// SPDX-License-Identifier: Apache-2.0
/** Machines on Windows' hypervisor, as the Host Compute Service makes them. */
@NullMarked
package dev.nacelle.hyperv;

import org.jspecify.annotations.NullMarked;
