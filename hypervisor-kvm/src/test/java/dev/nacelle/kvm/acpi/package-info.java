// SPDX-License-Identifier: Apache-2.0
/** Tests of the ACPI tables. */
@NullMarked
package dev.nacelle.kvm.acpi;

import org.jspecify.annotations.NullMarked;
