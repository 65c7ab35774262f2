// SPDX-License-Identifier: Apache-2.0
/** Tests of the boot protocol and ACPI tables. */
@NullMarked
package dev.nacelle.kvm.boot;

import org.jspecify.annotations.NullMarked;
