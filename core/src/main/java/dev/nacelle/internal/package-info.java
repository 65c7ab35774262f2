// SPDX-License-Identifier: Apache-2.0
/** What several packages of core share and nobody else sees. */
@NullMarked
package dev.nacelle.internal;

import org.jspecify.annotations.NullMarked;
