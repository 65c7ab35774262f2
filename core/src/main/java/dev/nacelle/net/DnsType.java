// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

/** Types of records that are told apart, as IANA's "Resource Record (RR) TYPEs" numbers them. */
final class DnsType {
  static final int A = 1;
  static final int NS = 2;
  static final int CNAME = 5;
  static final int PTR = 12;
  static final int MX = 15;
  static final int TXT = 16;
  static final int AAAA = 28;
  static final int SRV = 33;
  static final int OPT = 41;
  static final int SVCB = 64;
  static final int HTTPS = 65;

  private DnsType() {}
}
