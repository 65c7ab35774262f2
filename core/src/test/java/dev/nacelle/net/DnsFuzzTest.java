// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.internal.check.DomainNames;
import dev.nacelle.net.DnsMessage.Answer;
import dev.nacelle.net.DnsMessage.Query;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Whatever a guest asks and a resolver answers is understood or refused. See {@link
 * dev.nacelle.image.testing.FuzzedImages} for how to fuzz.
 */
class DnsFuzzTest {
  private static final int ID = 0x1234;

  static Stream<byte[]> questions() {
    DnsWriter escaped = new DnsWriter().u16(ID).u16(0x100).u16(1).u32(0).u16(0);
    escaped.u8(3).u8('a').u8('.').u8(0).u8(0).u16(16).u16(3);
    return Stream.of(
        DnsMessage.question(ID, "a.example", DnsType.A),
        DnsMessage.question(ID, "_x._tcp.a.example", DnsType.SRV),
        escaped.toByteArray());
  }

  /** What is answered is an answer to what was asked. */
  @MethodSource("questions")
  @FuzzTest(maxDuration = "5m")
  void aQuestionIsAnsweredOrRefused(byte[] message) throws Exception {
    Query query;
    try {
      query = DnsMessage.query(message, message.length);
    } catch (DnsException e) {
      byte[] refusal = DnsMessage.refusal(message, message.length, e.rcode());
      if (refusal != null && refusal.length != 12) {
        throw new AssertionError("more than a header");
      }
      return;
    }
    String name = DomainNames.canonical(query.name());
    if (name != null && !name.equals(query.name())) {
      throw new AssertionError("two names: " + query.name());
    }
    byte[] data = new byte[query.type() == DnsType.AAAA ? 16 : 4];
    data[0] = 42;
    for (int count : new int[] {0, 1, 64}) {
      byte[] reply = query.reply(Collections.nCopies(count, data), 7, query.udpSize());
      if (reply.length > query.udpSize()) {
        throw new AssertionError("longer than it may be: " + reply.length);
      }
      if (query.isInternet() && !isCut(reply) && hasFixedLength(query.type())) {
        Answer answer =
            DnsMessage.answer(
                reply,
                reply.length,
                ByteBuffer.wrap(reply).getShort() & 0xffff,
                query.name(),
                query.type());
        if (answer.addresses().size() != (isAddress(query.type()) ? count : 0)) {
          throw new AssertionError("another answer: " + answer);
        }
      }
    }
  }

  private static boolean isCut(byte[] reply) {
    return (reply[2] & 0x02) != 0;
  }

  private static boolean isAddress(int type) {
    return type == DnsType.A || type == DnsType.AAAA;
  }

  private static boolean hasFixedLength(int type) {
    return isAddress(type) || type == DnsType.TXT || type == DnsType.HTTPS;
  }

  static Stream<byte[]> answers() {
    DnsWriter alias = new DnsWriter().u16(ID).u16(0x8180).u16(1).u16(2).u32(0);
    alias.name("a.example").u16(1).u16(1);
    alias.u16(0xc00c).u16(5).u16(1).u32(300).u16(4).u8(1).u8('b').u16(0xc00e);
    alias.u16(0xc027).u16(1).u16(1).u32(60).u16(4).bytes(ip("192.0.2.1").bytes());
    return Stream.of(DnsMessageTest.answerOf(ip("192.0.2.1")), alias.toByteArray());
  }

  @MethodSource("answers")
  @FuzzTest(maxDuration = "5m")
  void anAnswerIsUnderstoodOrRefused(byte[] message) {
    for (int type : new int[] {DnsType.A, DnsType.AAAA, DnsType.SRV, DnsType.MX, DnsType.TXT}) {
      if (message.length > 1) {
        int id = (message[0] & 0xff) << 8 | message[1] & 0xff;
        try {
          Answer answer = DnsMessage.answer(message, message.length, id, "a.example", type);
          if (answer.addresses().size() + answer.data().size() > DnsMessage.MAX_KEPT
              || answer.ttl() < 0
              || answer.ttl() > Integer.MAX_VALUE) {
            throw new AssertionError("beyond its bounds: " + answer);
          }
        } catch (DnsException expected) {
          // said to be none
        }
      }
    }
  }

  /** However it is cut into pieces, the same messages come of it. */
  @MethodSource("questions")
  @FuzzTest(maxDuration = "5m")
  void aStreamIsTheSameInPieces(byte[] bytes) {
    if (!pieces(bytes, 1).equals(pieces(bytes, Math.max(1, bytes.length)))) {
      throw new AssertionError("not the same");
    }
  }

  private static List<String> pieces(byte[] bytes, int size) {
    List<String> messages = new ArrayList<>();
    DnsMessage.Stream stream = new DnsMessage.Stream();
    try {
      for (int at = 0; at < bytes.length; at += size) {
        ByteBuffer in = ByteBuffer.wrap(bytes, at, Math.min(size, bytes.length - at));
        for (byte[] message = stream.next(in); message != null; message = stream.next(in)) {
          messages.add(Arrays.toString(message));
        }
      }
    } catch (DnsException e) {
      messages.add("too long");
    }
    return messages;
  }
}
