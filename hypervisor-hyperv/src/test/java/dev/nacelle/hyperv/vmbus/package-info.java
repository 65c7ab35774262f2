// SPDX-License-Identifier: Apache-2.0
/**
 * The host's side of VMBus, for guests that KVM runs: what Hyper-V is to a Linux kernel's drivers,
 * as far as our guests use them. A trusted peer of tests: it checks what the guest says, but sets
 * no limits.
 *
 * <p>Structures and numbers are those of Linux 6.1: include/linux/hyperv.h and
 * include/asm-generic/hyperv-tlfs.h, drivers/hv, drivers/scsi/storvsc_drv.c,
 * net/vmw_vsock/hyperv_transport.c. Offsets are named where they are used.
 */
@NullMarked
package dev.nacelle.hyperv.vmbus;

import org.jspecify.annotations.NullMarked;
