// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.DnsMessage.Answer;
import dev.nacelle.net.DnsMessage.Query;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DnsMessageTest {
  private static final int ID = 0x1234;
  private static final String NAME = "a.example";

  /** A message as it is written by hand. */
  private static final class Message {
    private final DnsWriter out = new DnsWriter();

    Message(int flags, int answers) {
      this(flags, 1, answers, 0, 0);
    }

    Message(int flags, int questions, int answers, int authorities, int additional) {
      out.u16(ID).u16(flags).u16(questions).u16(answers).u16(authorities).u16(additional);
    }

    Message question(String name, int type) {
      out.name(name).u16(type).u16(1);
      return this;
    }

    Message record(String owner, int type, long ttl, byte[] data) {
      out.name(owner);
      return record(type, ttl, data);
    }

    Message record(int type, long ttl, byte[] data) {
      out.u16(type).u16(1).u32(ttl).u16(data.length).bytes(data);
      return this;
    }

    Message pointer(int to) {
      out.u16(0xc000 | to);
      return this;
    }

    Message alias(String owner, String target) {
      return record(owner, DnsType.CNAME, 300, new DnsWriter().name(target).toByteArray());
    }

    byte[] bytes() {
      return out.toByteArray();
    }
  }

  static byte[] answerOf(Ip address) {
    return new Message(0x8180, 1)
        .question(NAME, DnsType.A)
        .pointer(12)
        .record(DnsType.A, 300, address.bytes())
        .bytes();
  }

  private static Message answers(int count) {
    return new Message(0x8180, count).question(NAME, DnsType.A);
  }

  private static Answer read(byte[] message) throws DnsException {
    return DnsMessage.answer(message, message.length, ID, NAME, DnsType.A);
  }

  private static Query query(byte[] message) throws DnsException {
    return DnsMessage.query(message, message.length);
  }

  private static void assertMalformed(String words, byte[] message) {
    DnsException e = assertThrows(DnsException.class, () -> query(message));
    assertTrue(String.valueOf(e.getMessage()).contains(words), e.getMessage());
  }

  private static void assertNoAnswer(String words, byte[] message) {
    DnsException e = assertThrows(DnsException.class, () -> read(message));
    assertTrue(String.valueOf(e.getMessage()).contains(words), e.getMessage());
  }

  @Test
  void aQuestionIsReadAndEchoedAsItWasWritten() throws Exception {
    byte[] asked = new Message(0x0110, 0).question("A.eXample", DnsType.AAAA).bytes();
    Query query = query(asked);
    assertEquals("a.example", query.name());
    assertEquals(DnsType.AAAA, query.type());
    assertTrue(query.isInternet());
    assertEquals(512, query.udpSize());
    byte[] reply = query.reply(DnsMessage.NXDOMAIN, DnsMessage.EDE_BLOCKED, "no");
    assertEquals(asked.length, reply.length, "no EDNS without EDNS");
    assertArrayEquals(
        Arrays.copyOfRange(asked, 12, asked.length), Arrays.copyOfRange(reply, 12, reply.length));
    assertEquals(0x8193, ByteBuffer.wrap(reply).getShort(2) & 0xffff);
  }

  @Test
  void ednsSaysHowLargeAnAnswerMayBeWithinBounds() throws Exception {
    for (int[] sizes : new int[][] {{0, 512}, {511, 512}, {1000, 1000}, {65_535, 1232}}) {
      DnsWriter out = new DnsWriter();
      out.u16(ID).u16(0x0100).u16(1).u16(0).u16(0).u16(1).name(NAME).u16(1).u16(1);
      out.u8(0).u16(DnsType.OPT).u16(sizes[0]).u32(0x8000).u16(0);
      Query query = query(out.toByteArray());
      assertEquals(sizes[1], query.udpSize());
      byte[] reply = query.reply(DnsMessage.NOERROR, DnsMessage.EDE_NONE, "");
      assertEquals(0x8000, ByteBuffer.wrap(reply).getInt(reply.length - 6), "DO is kept");
    }
  }

  @Test
  void ednsOfAnotherVersionIsSaidToBe() throws Exception {
    DnsWriter out = new DnsWriter();
    out.u16(ID).u16(0x0100).u16(1).u16(0).u16(0).u16(1).name(NAME).u16(1).u16(1);
    out.u8(0).u16(DnsType.OPT).u16(512).u32(1 << 16).u16(0);
    Query query = query(out.toByteArray());
    assertFalse(query.hasKnownVersion());
    byte[] reply = query.reply(DnsMessage.BADVERS, DnsMessage.EDE_NONE, "");
    assertEquals(0, reply[3] & 0xf);
    assertEquals(1, reply[reply.length - 6]);
    assertEquals(0, reply[reply.length - 5]);
  }

  @Test
  void whatIsNoQuestionIsRefused() {
    assertMalformed("ends too early", new byte[11]);
    assertMalformed("not one question", new Message(0x8100, 0).question(NAME, 1).bytes());
    assertMalformed("only queries", new Message(0x2800, 0).question(NAME, 1).bytes());
    assertMalformed("not one question", new Message(0x0100, 0, 0, 0, 0).bytes());
    assertMalformed(
        "not one question",
        new Message(0x0100, 2, 0, 0, 0).question(NAME, 1).question(NAME, 1).bytes());
    assertMalformed("not one question", new Message(0x0100, 1).question(NAME, 1).bytes());
    assertMalformed("ends too early", new Message(0x0100, 1, 0, 0, 1).question(NAME, 1).bytes());
    assertMalformed(
        "more than a question",
        Arrays.copyOf(new Message(0x0100, 0).question(NAME, 1).bytes(), 40));
    assertMalformed("at most 4096", new byte[4097]);
    byte[] opt = {};
    assertMalformed(
        "two OPT",
        new Message(0x0100, 1, 0, 0, 2)
            .question(NAME, 1)
            .record("", DnsType.OPT, 0, opt)
            .record("", DnsType.OPT, 0, opt)
            .bytes());
    assertMalformed(
        "OPT record has no name",
        new Message(0x0100, 1, 0, 0, 1).question(NAME, 1).record("a", DnsType.OPT, 0, opt).bytes());
  }

  @Test
  void namesThatAreNoneAreRefused() {
    byte[] header = new Message(0x0100, 0).bytes();
    byte[] pointer = new DnsWriter().bytes(header).u16(0xc00c).u16(1).u16(1).toByteArray();
    assertMalformed("points where it must not", pointer);
    byte[] kind = new DnsWriter().bytes(header).u8(0x41).u8(0).u16(1).u16(1).toByteArray();
    assertMalformed("unknown kind", kind);
    DnsWriter labels = new DnsWriter().bytes(header);
    for (int i = 0; i < 128; i++) {
      labels.u8(1).u8('a');
    }
    assertMalformed("too long", labels.u8(0).u16(1).u16(1).toByteArray());
    DnsWriter early = new DnsWriter().bytes(header).u8(63).u8('a');
    assertMalformed("ends too early", early.toByteArray());
  }

  @Test
  void octetsThatAreNoLettersAreNotMistakenForOthers() throws Exception {
    DnsWriter out = new DnsWriter().bytes(new Message(0x0100, 0).bytes());
    out.u8(3).u8('a').u8('.').u8('B').u8(2).u8(0).u8(0xff).u8(0).u16(1).u16(1);
    byte[] message = out.toByteArray();
    String name = query(message).name();
    assertEquals("a\\046b.\\000\\255", name);
    assertEquals(name, new DnsReader(new DnsWriter().name(name).toByteArray(), 9).name(false));
    DnsWriter root = new DnsWriter().bytes(new Message(0x0100, 0).bytes()).u8(0).u16(1).u16(1);
    assertEquals("", query(root.toByteArray()).name());
  }

  @Test
  void whatIsNoQuestionIsAnsweredByAHeaderUnlessItIsAnAnswer() {
    byte[] update = new Message(0x2900, 0).bytes();
    byte[] reply = DnsMessage.refusal(update, update.length, DnsMessage.NOTIMP);
    assertNotNull(reply);
    assertEquals(12, reply.length);
    assertEquals(0x1234_a984, ByteBuffer.wrap(reply).getInt());
    assertNull(DnsMessage.refusal(new byte[11], 11, DnsMessage.FORMERR));
    byte[] answer = new Message(0x8000, 0).bytes();
    assertNull(DnsMessage.refusal(answer, answer.length, DnsMessage.FORMERR));
  }

  @Test
  void whatIsAskedUpstreamIsWrittenAnew() throws Exception {
    byte[] question = DnsMessage.question(ID, NAME, DnsType.A);
    Query query = query(question);
    assertEquals(NAME, query.name());
    assertEquals(1232, query.udpSize());
    assertEquals(0x0100, ByteBuffer.wrap(question).getShort(2));
    assertEquals(12 + 11 + 4 + 11, question.length);
  }

  @Test
  void addressesAreReadInTheirOrder() throws Exception {
    byte[] message =
        answers(2)
            .pointer(12)
            .record(DnsType.A, 300, ip("192.0.2.2").bytes())
            .record("A.EXAMPLE", DnsType.A, 20, ip("192.0.2.1").bytes())
            .bytes();
    Answer answer = read(message);
    assertEquals(List.of(ip("192.0.2.2"), ip("192.0.2.1")), answer.addresses());
    assertEquals(20, answer.ttl());
    assertEquals(DnsMessage.NOERROR, answer.rcode());
  }

  @Test
  void whatWasNotAskedForIsLeftOut() throws Exception {
    byte[] message =
        answers(4)
            .record("b.example", DnsType.A, 300, ip("192.0.2.1").bytes())
            .record(NAME, DnsType.AAAA, 1, ip("2001:db8::1").bytes())
            .record(NAME, DnsType.TXT, 1, new byte[] {1, 'a'})
            .record(NAME, DnsType.A, 300, ip("192.0.2.2").bytes())
            .bytes();
    assertEquals(List.of(ip("192.0.2.2")), read(message).addresses());
    assertEquals(300, read(message).ttl());
  }

  @Test
  void aliasesAreFollowedInWhateverOrderAndTheShortestTimeCounts() throws Exception {
    byte[] message =
        answers(3)
            .record("c.example", DnsType.A, 600, ip("192.0.2.1").bytes())
            .alias("b.example", "C.example")
            .record(NAME, DnsType.CNAME, 7, new DnsWriter().name("b.example").toByteArray())
            .bytes();
    assertEquals(List.of(ip("192.0.2.1")), read(message).addresses());
    assertEquals(7, read(message).ttl());
  }

  @Test
  void aChainIsOfEightAliasesAtMost() throws Exception {
    assertEquals(List.of(ip("192.0.2.1")), read(chain(8)).addresses());
    assertNoAnswer("more than 8 aliases", chain(9));
    assertNoAnswer("go round", answers(1).alias(NAME, NAME).bytes());
    assertNoAnswer(
        "go round", answers(2).alias(NAME, "b.example").alias("b.example", NAME).bytes());
    assertNoAnswer(
        "two aliases", answers(2).alias(NAME, "b.example").alias(NAME, "c.example").bytes());
    assertEquals(List.of(), read(answers(1).alias(NAME, "b.example").bytes()).addresses());
  }

  private static byte[] chain(int aliases) {
    Message message = answers(aliases + 1);
    String owner = NAME;
    for (int i = 0; i < aliases; i++) {
      message.alias(owner, "c" + i + ".example");
      owner = "c" + i + ".example";
    }
    return message.record(owner, DnsType.A, 1, ip("192.0.2.1").bytes()).bytes();
  }

  @Test
  void anAddressOfIpv4IsNoneOfIpv6() throws Exception {
    byte[] mapped = new byte[16];
    mapped[10] = mapped[11] = (byte) 0xff;
    byte[] message =
        new Message(0x8180, 2)
            .question(NAME, DnsType.AAAA)
            .record(NAME, DnsType.AAAA, 1, mapped)
            .record(NAME, DnsType.AAAA, 1, ip("2001:db8::1").bytes())
            .bytes();
    assertEquals(
        List.of(ip("2001:db8::1")),
        DnsMessage.answer(message, message.length, ID, NAME, DnsType.AAAA).addresses());
  }

  @Test
  void anAnswerToSomethingElseIsNone() {
    byte[] id = answerOf(ip("192.0.2.1"));
    id[0]++;
    assertNoAnswer("to something else", id);
    assertNoAnswer("to something else", new Message(0x8180, 0).question("b.example", 1).bytes());
    assertNoAnswer("to something else", new Message(0x8180, 0).question(NAME, 28).bytes());
    assertNoAnswer("not an answer", new Message(0x0100, 0).question(NAME, 1).bytes());
    assertNoAnswer("not an answer", new Message(0x8180, 0, 0, 0, 0).bytes());
  }

  @Test
  void malformedAnswersAreRefused() {
    assertNoAnswer(
        "an address of 3 bytes", answers(1).record(NAME, DnsType.A, 1, new byte[3]).bytes());
    assertNoAnswer("ends too early", answers(2).record(NAME, 1, 1, new byte[4]).bytes());
    assertNoAnswer("more than 512 records", answers(513).bytes());
    assertNoAnswer(
        "not as long as it says",
        answers(1).record(NAME, DnsType.CNAME, 1, new byte[] {0, 0}).bytes());
    byte[] cut = answerOf(ip("192.0.2.1"));
    for (int length = 0; length < cut.length; length++) {
      int part = length;
      assertThrows(
          DnsException.class,
          () -> DnsMessage.answer(cut, part, ID, NAME, DnsType.A),
          () -> "of " + part);
    }
    // A name that points to itself, to what follows, and to a chain of pointers.
    for (int target : new int[] {27, 28, 0x3fff}) {
      assertNoAnswer("points where", answers(1).pointer(target).record(1, 1, new byte[4]).bytes());
    }
  }

  @Test
  void pointersAreBoundedInAName() {
    DnsWriter data = new DnsWriter();
    byte[] start = answers(2).bytes();
    int first = start.length + 1 + 10;
    for (int i = 0; i < 200; i++) {
      data.u16(0xc000 | (i == 0 ? 12 : first + 2 * (i - 1)));
    }
    byte[] message =
        answers(2)
            .record("", DnsType.TXT, 1, data.toByteArray())
            .pointer(first + 2 * 199)
            .record(DnsType.A, 1, new byte[4])
            .bytes();
    assertNoAnswer("points where", message);
  }

  @Test
  void errorsOfResolversAndWhatIsCutAreTold() throws Exception {
    Answer missing = read(new Message(0x8183, 0).question(NAME, DnsType.A).bytes());
    assertEquals(DnsMessage.NXDOMAIN, missing.rcode());
    assertEquals(List.of(), missing.addresses());
    assertTrue(read(new Message(0x8380, 9).question(NAME, DnsType.A).bytes()).truncated());
    Answer failed = read(new Message(0x8182, 0).question(NAME, DnsType.A).bytes());
    assertEquals(DnsMessage.SERVFAIL, failed.rcode());
  }

  @Test
  void aTimeThatIsNoneIsZero() throws Exception {
    byte[] message = answers(1).record(NAME, DnsType.A, 1L << 31, new byte[] {8, 8, 8, 8}).bytes();
    assertEquals(0, read(message).ttl());
  }

  @Test
  void namesInOtherRecordsAreWritenWhole() throws Exception {
    byte[] message =
        new Message(0x8180, 1)
            .question(NAME, DnsType.SRV)
            .pointer(12)
            .record(DnsType.SRV, 9, new byte[] {0, 1, 0, 2, 0, 3, 1, 'b', (byte) 0xc0, 14})
            .bytes();
    Answer answer = DnsMessage.answer(message, message.length, ID, NAME, DnsType.SRV);
    byte[] whole = new DnsWriter().u16(1).u16(2).u16(3).name("b.example").toByteArray();
    assertArrayEquals(whole, answer.data().get(0));
    assertEquals(9, answer.ttl());
  }

  @Test
  void atMostSixtyFourRecordsAreKept() throws Exception {
    Message message = answers(100);
    IntStream.range(0, 100)
        .forEach(i -> message.pointer(12).record(DnsType.A, 1, Ip.v4(0x0808_0000 + i).bytes()));
    assertEquals(64, read(message.bytes()).addresses().size());
  }

  @Test
  void anAnswerThatDoesNotFitIsCutToNothing() throws Exception {
    Query query = query(new Message(0x0100, 0).question(NAME, DnsType.A).bytes());
    List<byte[]> data = Collections.nCopies(64, new byte[4]);
    byte[] cut = query.reply(data, 60, query.udpSize());
    assertTrue(cut.length <= 512);
    assertEquals(0x02, cut[2] & 0x02);
    assertEquals(0, cut[7]);
    byte[] whole = query.reply(data, 60, DnsMessage.MAX_TCP);
    assertEquals(0, whole[2] & 0x02);
    assertEquals(64, read(whole).addresses().size());
    byte[] large = query.reply(Collections.nCopies(3, new byte[40_000]), 60, DnsMessage.MAX_TCP);
    assertEquals(0x02, large[2] & 0x02);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7, 1000})
  void messagesOverTcpComeInPieces(int piece) throws Exception {
    byte[] question = DnsMessage.question(ID, NAME, DnsType.A);
    DnsWriter sent = new DnsWriter();
    sent.u16(question.length).bytes(question).u16(0).u16(question.length).bytes(question);
    byte[] bytes = sent.toByteArray();
    DnsMessage.Stream stream = new DnsMessage.Stream();
    int messages = 0;
    for (int at = 0; at < bytes.length; at += piece) {
      ByteBuffer in = ByteBuffer.wrap(bytes, at, Math.min(piece, bytes.length - at));
      for (byte[] message = stream.next(in); message != null; message = stream.next(in)) {
        assertArrayEquals(messages++ == 1 ? new byte[0] : question, message);
      }
      assertFalse(in.hasRemaining());
    }
    assertEquals(3, messages);
    ByteBuffer tooLong = ByteBuffer.wrap(new byte[] {0x10, 0x01});
    assertThrows(DnsException.class, () -> new DnsMessage.Stream().next(tooLong));
  }
}
