// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

/** A message that is not as RFC 1035 has them, or that is not what was asked for. */
final class DnsException extends Exception {
  private static final long serialVersionUID = 1;

  private final int rcode;

  DnsException(String message) {
    this(DnsMessage.FORMERR, message);
  }

  /**
   * @param rcode what a guest is answered that sent it
   */
  DnsException(int rcode, String message) {
    // A guest may send any number of them.
    super(message, null, false, false);
    this.rcode = rcode;
  }

  int rcode() {
    return rcode;
  }
}
