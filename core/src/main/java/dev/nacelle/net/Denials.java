// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.network.DenialReason;
import dev.nacelle.network.Rate;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;

/**
 * Tells the guest what is denied it, in words: people and programs take a denial for a fault
 * otherwise. At most 100 lines a second. On the loop.
 */
final class Denials {
  private static final Rate RATE = Rate.perSecond(100);

  private final GuestLink link;
  private final TokenBucket left = new TokenBucket(RATE, System.nanoTime());

  Denials(GuestLink link) {
    this.link = link;
  }

  void flow(FlowInfo info, DenialReason reason, String rule, List<String> names, String said) {
    if (left.take(System.nanoTime())) {
      String where =
          info.transport
              + " to "
              + info.remote
              + " port "
              + info.port
              + (names.isEmpty() ? "" : " (" + String.join(", ", names) + ")");
      tell(where, reason, said, rule);
    }
  }

  void name(String name, int type, DenialReason reason) {
    if (left.take(System.nanoTime())) {
      tell("DNS of " + name + " (records of type " + type + ")", reason, "", "");
    }
  }

  private void tell(String what, DenialReason reason, String said, String rule) {
    String line =
        Instant.now().truncatedTo(ChronoUnit.SECONDS)
            + " "
            + what
            + ": "
            + inWords(reason, said)
            + " ["
            + reason
            + (rule.isEmpty() ? "" : ", rule '" + rule + "'")
            + "]";
    link.sendDenial(ascii(line));
  }

  private static String inWords(DenialReason reason, String said) {
    String name = said.isEmpty() ? "there is none" : "it is " + said;
    return switch (reason) {
      case FLOOR -> "this address is closed to all";
      case RULE -> "a rule denies it";
      case NO_RULE -> "no rule allows it";
      case NOT_RESOLVED -> "it was not resolved here, and only names are allowed";
      case REBINDING -> "the address is not public, and its rule does not allow that";
      case SNI_MISMATCH -> "the name in the TLS handshake is not allowed there, " + name;
      case HIDDEN_NAME -> "the TLS handshake may hide another name";
      case HOST_MISMATCH -> "the request's Host is not allowed there, " + name;
      case WRONG_PROTOCOL -> "it does not speak the protocol of its rule";
      case NO_NAME_IN_TIME -> "it did not say in time whom it speaks to";
      case PROXY -> "it would not leave through the upstream proxy";
      case RECORD_TYPE -> "records of that type may not be asked for";
      case LIMIT -> "a limit was reached";
    };
  }

  /** Printable, and not too long; a name may be anything. */
  private static byte[] ascii(String line) {
    byte[] bytes = line.getBytes(StandardCharsets.US_ASCII);
    byte[] printable = new byte[Math.min(bytes.length, Frames.MAX_LINE)];
    for (int i = 0; i < printable.length; i++) {
      printable[i] = bytes[i] < ' ' || bytes[i] > '~' ? (byte) '?' : bytes[i];
    }
    return printable;
  }
}
