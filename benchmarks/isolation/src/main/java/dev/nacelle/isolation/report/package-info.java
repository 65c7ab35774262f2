// SPDX-License-Identifier: Apache-2.0

/**
 * What is derived from results: medians, spread and ratios, as a page, as a picture, and as
 * README's tables. {@link dev.nacelle.isolation.report.Report} is the program.
 */
@NullMarked
package dev.nacelle.isolation.report;

import org.jspecify.annotations.NullMarked;
