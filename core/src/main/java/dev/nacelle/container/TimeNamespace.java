// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import java.time.Duration;

/**
 * Clocks of the container's own: time_namespaces(7).
 *
 * @param monotonic what is added to CLOCK_MONOTONIC
 * @param boottime what is added to CLOCK_BOOTTIME
 */
public record TimeNamespace(Duration monotonic, Duration boottime) {}
