// SPDX-License-Identifier: Apache-2.0
/**
 * Devices at a PC's ports, which guests know without being told or that ACPI names: serial port,
 * keyboard controller, clock, power; and the port by which a guest that is not Linux exits.
 */
@NullMarked
package dev.nacelle.kvm.device.legacy;

import org.jspecify.annotations.NullMarked;
