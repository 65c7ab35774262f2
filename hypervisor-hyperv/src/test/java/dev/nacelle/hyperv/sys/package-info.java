// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.hyperv.sys;

import org.jspecify.annotations.NullMarked;
