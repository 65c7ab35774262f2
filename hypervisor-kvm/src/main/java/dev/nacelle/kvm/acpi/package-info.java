// SPDX-License-Identifier: Apache-2.0
/** The ACPI tables, by which a guest finds the machine's hardware. */
@NullMarked
package dev.nacelle.kvm.acpi;

import org.jspecify.annotations.NullMarked;
