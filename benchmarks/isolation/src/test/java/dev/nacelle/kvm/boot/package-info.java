// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.kvm.boot;

import org.jspecify.annotations.NullMarked;
