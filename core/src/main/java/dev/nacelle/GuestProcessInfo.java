// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Instant;

/**
 * A process that was started in a sandbox, or what it left behind. The guest's word: bounded, but
 * not verified.
 *
 * @param id names it in this sandbox; never used again
 * @param pid its process ID, as the sandbox's processes see it; 0 before it executes its command,
 *     and possibly another's when it has ended
 * @param running whether the process itself runs; otherwise what it left behind does
 * @param command its command line; cut after 256 bytes
 * @param startedAt when it was started, by the host's clock
 * @param treeSize how many processes there are of it: itself and what it started
 */
public record GuestProcessInfo(
    long id, long pid, boolean running, String command, Instant startedAt, int treeSize) {}
