// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

/** Numbers of users and groups: uint32, without the last, which is none. */
final class Ids {
  static final long MAX = (1L << 32) - 2;

  private Ids() {}

  static long check(long id) {
    if (id < 0 || id > MAX) {
      throw new IllegalArgumentException("no user or group has the number " + id);
    }
    return id;
  }
}
