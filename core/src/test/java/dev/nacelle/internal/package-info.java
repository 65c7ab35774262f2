// SPDX-License-Identifier: Apache-2.0
/** Tests of what the packages of the API share, and a second process for them. */
@NullMarked
package dev.nacelle.internal;

import org.jspecify.annotations.NullMarked;
