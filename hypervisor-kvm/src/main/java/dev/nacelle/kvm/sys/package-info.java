// SPDX-License-Identifier: Apache-2.0
/**
 * The system calls: the only place, with {@code dev.nacelle.kvm.memory}, that knows raw addresses.
 *
 * <p>Direct mapping with fixed arity, because it costs a third of a call through an interface. A
 * return code tells failure and only then is {@code errno} read: declaring {@code
 * LastErrorException} would throw for a stale {@code errno} of a call that succeeded. EINTR is
 * retried here, so that callers never see it; {@code KVM_RUN} is the exception, where it is the
 * answer to a kick.
 */
@NullMarked
package dev.nacelle.kvm.sys;

import org.jspecify.annotations.NullMarked;
