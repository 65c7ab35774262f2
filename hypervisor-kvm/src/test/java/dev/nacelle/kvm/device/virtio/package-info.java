// SPDX-License-Identifier: Apache-2.0
/** Tests of the virtio devices against a driver that the tests play themselves, hostile at need. */
@NullMarked
package dev.nacelle.kvm.device.virtio;

import org.jspecify.annotations.NullMarked;
