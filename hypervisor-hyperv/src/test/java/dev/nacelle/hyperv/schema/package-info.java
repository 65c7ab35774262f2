// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.hyperv.schema;

import org.jspecify.annotations.NullMarked;
