// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The messages between a guest, the host's resolver and an upstream one (RFC 1035, with EDNS of RFC
 * 6891). Neither's bytes are passed on to the other: what is asked upstream is written anew from
 * the name and the type, and what the guest is answered from the records that were understood.
 */
final class DnsMessage {
  static final int NOERROR = 0;
  static final int FORMERR = 1;
  static final int SERVFAIL = 2;
  static final int NXDOMAIN = 3;
  static final int NOTIMP = 4;
  static final int REFUSED = 5;

  /** RFC 6891 section 9; its upper bits are in the OPT record. */
  static final int BADVERS = 16;

  /** Extended errors, RFC 8914 section 4. */
  static final int EDE_NONE = -1;

  static final int EDE_OTHER = 0;
  static final int EDE_BLOCKED = 15;
  static final int EDE_NETWORK_ERROR = 23;

  /** Of a guest's question, however it comes: one name, and options. */
  static final int MAX_QUERY = 4096;

  /** Over UDP without EDNS: RFC 1035 section 2.3.4. */
  static final int MIN_UDP = 512;

  /** Over UDP with it, which no path has to fragment: as resolvers agreed on DNS flag day 2020. */
  static final int MAX_UDP = 1232;

  static final int MAX_TCP = 65_535;

  /** Records of an answer that are kept, and that are looked at. */
  static final int MAX_KEPT = 64;

  private static final int MAX_RECORDS = 512;

  static final int MAX_ALIASES = 8;

  private static final int HEADER = 12;
  private static final int CLASS_IN = 1;
  private static final int OPTION_EDE = 15;

  /** Flags of the header: section 4.1.1, with CD of RFC 4035 section 3.2.2. */
  private static final int QR = 0x8000;

  private static final int OPCODE = 0x7800;
  private static final int TC = 0x0200;
  private static final int RD = 0x0100;
  private static final int RA = 0x0080;
  private static final int CD = 0x0010;
  private static final int RCODE = 0x000f;

  /** RFC 3225 section 3. */
  private static final int DO = 0x8000;

  private DnsMessage() {}

  /** A guest's question. */
  static final class Query {
    private final int id;
    private final int flags;
    private final String name;
    private final int type;
    private final int recordClass;
    private final byte[] question;
    private final boolean edns;
    private final int udpSize;
    private final int version;
    private final boolean dnssec;

    private Query(
        int id,
        int flags,
        String name,
        int type,
        int recordClass,
        byte[] question,
        @Nullable Opt opt) {
      this.id = id;
      this.flags = flags;
      this.name = name;
      this.type = type;
      this.recordClass = recordClass;
      this.question = question;
      edns = opt != null;
      udpSize = opt == null ? MIN_UDP : Math.min(Math.max(opt.udpSize, MIN_UDP), MAX_UDP);
      version = opt == null ? 0 : opt.version;
      dnssec = opt != null && opt.dnssec;
    }

    /** As {@link DnsReader#name} has it. */
    String name() {
      return name;
    }

    int type() {
      return type;
    }

    /** Whether it is of class IN; others are REFUSED. */
    boolean isInternet() {
      return recordClass == CLASS_IN;
    }

    /** Whether its EDNS is of a version that is known; others are BADVERS. */
    boolean hasKnownVersion() {
      return version == 0;
    }

    /** How many bytes an answer over UDP may have. */
    int udpSize() {
      return udpSize;
    }

    /**
     * An answer without records.
     *
     * @param extended one of RFC 8914, which is told with EDNS alone, or {@link
     *     DnsMessage#EDE_NONE}
     * @param text that says more of that, in ASCII; may be empty
     */
    byte[] reply(int rcode, int extended, String text) {
      return reply(rcode, List.of(), 0, MAX_TCP, extended, text);
    }

    /**
     * An answer of the records that were asked for. Where they do not fit, there is none, and the
     * guest is told to ask over TCP.
     *
     * @param data of each, on the wire
     * @param ttl in seconds
     * @param size how many bytes it may have: {@link #udpSize()} or {@link DnsMessage#MAX_TCP}
     */
    byte[] reply(List<byte[]> data, long ttl, int size) {
      byte[] whole = reply(NOERROR, data, ttl, size, EDE_NONE, "");
      if (whole.length <= size) {
        return whole;
      }
      byte[] empty = reply(NOERROR, EDE_NONE, "");
      empty[2] |= (byte) (TC >>> 8);
      return empty;
    }

    private byte[] reply(
        int rcode, List<byte[]> data, long ttl, int size, int extended, String text) {
      DnsWriter out = new DnsWriter();
      out.u16(id).u16(QR | flags & (RD | CD) | RA | rcode & RCODE);
      out.u16(1).u16(data.size()).u16(0).u16(edns ? 1 : 0);
      out.bytes(question);
      for (byte[] record : data) {
        if (out.length() > size) {
          break; // does not fit in any case
        }
        out.u16(0xc000 | HEADER).u16(type).u16(CLASS_IN).u32(ttl);
        out.u16(record.length).bytes(record);
      }
      if (edns) {
        out.u8(0).u16(DnsType.OPT).u16(MAX_UDP);
        out.u8(rcode >>> 4).u8(0).u16(dnssec ? DO : 0);
        if (extended == EDE_NONE) {
          out.u16(0);
        } else {
          out.u16(6 + text.length()).u16(OPTION_EDE).u16(2 + text.length());
          out.u16(extended).ascii(text);
        }
      }
      return out.toByteArray();
    }
  }

  private record Opt(int udpSize, int version, boolean dnssec) {}

  /**
   * Reads a guest's question.
   *
   * @throws DnsException when it is none; {@link #refusal} answers it
   */
  static Query query(byte[] message, int length) throws DnsException {
    if (length > MAX_QUERY) {
      throw new DnsException("a question is of at most " + MAX_QUERY + " bytes");
    }
    DnsReader in = new DnsReader(message, length);
    int id = in.u16();
    int flags = in.u16();
    if ((flags & OPCODE) != 0) {
      throw new DnsException(NOTIMP, "only queries are answered");
    }
    int questions = in.u16();
    int answers = in.u16();
    int authorities = in.u16();
    int additional = in.u16();
    if ((flags & (QR | TC)) != 0 || questions != 1 || answers != 0 || authorities != 0) {
      throw new DnsException("not one question");
    }
    String name = in.name(false);
    int type = in.u16();
    int recordClass = in.u16();
    byte[] question = Arrays.copyOfRange(message, HEADER, in.position());
    Opt opt = null;
    for (int i = 0; i < additional; i++) {
      Opt found = additional(in);
      if (found != null && opt != null) {
        throw new DnsException("two OPT records");
      }
      opt = found != null ? found : opt;
    }
    if (in.left() != 0) {
      throw new DnsException("more than a question");
    }
    return new Query(id, flags, name, type, recordClass, question, opt);
  }

  /** Reads one; null where it is no OPT. */
  private static @Nullable Opt additional(DnsReader in) throws DnsException {
    String owner = in.name(true);
    int type = in.u16();
    int size = in.u16();
    long extended = in.u32();
    in.skip(in.u16());
    if (type != DnsType.OPT) {
      return null;
    }
    if (!owner.isEmpty()) {
      throw new DnsException("an OPT record has no name");
    }
    return new Opt(size, (int) (extended >>> 16) & 0xff, (extended & DO) != 0);
  }

  /**
   * What a guest is answered whose message is no question: a header.
   *
   * @return null where nothing is to be answered, as it is no header, or an answer itself
   */
  static byte @Nullable [] refusal(byte[] message, int length, int rcode) {
    if (length < HEADER || (message[2] & QR >>> 8) != 0) {
      return null;
    }
    int flags = (message[2] & 0xff) << 8 | message[3] & 0xff;
    return new DnsWriter()
        .u8(message[0])
        .u8(message[1])
        .u16(QR | flags & (OPCODE | RD | CD) | RA | rcode)
        .u32(0)
        .u32(0)
        .toByteArray();
  }

  /**
   * What an upstream resolver is asked.
   *
   * @param id which nobody can guess
   * @param name in canonical form
   */
  static byte[] question(int id, String name, int type) {
    return question(id, name, type, true);
  }

  /**
   * As {@link #question(int, String, int)}.
   *
   * @param edns whether it says that an answer may be longer than {@link #MIN_UDP}
   */
  static byte[] question(int id, String name, int type, boolean edns) {
    DnsWriter out = new DnsWriter();
    out.u16(id).u16(RD).u16(1).u16(0).u16(0).u16(edns ? 1 : 0);
    out.name(name).u16(type).u16(CLASS_IN);
    if (edns) {
      out.u8(0).u16(DnsType.OPT).u16(MAX_UDP).u32(0).u16(0);
    }
    return out.toByteArray();
  }

  /**
   * What an upstream resolver answered.
   *
   * @param rcode {@link #NOERROR}, {@link #NXDOMAIN}, or what went wrong there
   * @param truncated whether it is to be asked over TCP; then there are no records
   * @param addresses of A and AAAA, in their order; at most {@link #MAX_KEPT}
   * @param data of the records of other types, as they are on the wire, with their names whole
   * @param ttl in seconds, the shortest of all that lead there; 0 without any
   */
  record Answer(int rcode, boolean truncated, List<Ip> addresses, List<byte[]> data, long ttl) {}

  private record Alias(String target, long ttl) {}

  /**
   * Reads an upstream resolver's answer, and follows aliases (CNAME) to the records that were asked
   * for.
   *
   * @param id that it was asked with
   * @param name in canonical form
   * @throws DnsException when it is no answer to that, is malformed, or has a chain of more than 8
   *     aliases or one that goes round
   */
  static Answer answer(byte[] message, int length, int id, String name, int type)
      throws DnsException {
    DnsReader in = new DnsReader(message, length);
    if (in.u16() != id) {
      throw new DnsException("an answer to something else");
    }
    int flags = in.u16();
    int questions = in.u16();
    int answers = in.u16();
    in.skip(4);
    if ((flags & QR) == 0 || (flags & OPCODE) != 0 || questions != 1) {
      throw new DnsException("not an answer to one question");
    }
    if (!in.name(true).equals(name) || in.u16() != type || in.u16() != CLASS_IN) {
      throw new DnsException("an answer to something else");
    }
    int rcode = flags & RCODE;
    boolean truncated = (flags & TC) != 0;
    if (truncated || rcode != NOERROR) {
      return new Answer(rcode, truncated, List.of(), List.of(), 0);
    }
    if (answers > MAX_RECORDS) {
      throw new DnsException("more than " + MAX_RECORDS + " records");
    }
    return follow(records(in, answers, type), name, type);
  }

  private static final class Owned {
    private final String owner;
    private final long ttl;
    private final byte[] data;

    Owned(String owner, long ttl, byte[] data) {
      this.owner = owner;
      this.ttl = ttl;
      this.data = data;
    }
  }

  private record Records(Map<String, Alias> aliases, List<Owned> wanted) {}

  private static Records records(DnsReader in, int count, int wantedType) throws DnsException {
    Map<String, Alias> aliases = new HashMap<>();
    List<Owned> wanted = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      String owner = in.name(true);
      int type = in.u16();
      int recordClass = in.u16();
      long ttl = in.u32();
      ttl = ttl > Integer.MAX_VALUE ? 0 : ttl; // RFC 2181 section 8
      int length = in.u16();
      int end = in.position() + length;
      if (recordClass == CLASS_IN && type == DnsType.CNAME) {
        Alias alias = new Alias(in.name(true), ttl);
        Alias other = aliases.putIfAbsent(owner, alias);
        if (other != null && !other.target.equals(alias.target)) {
          throw new DnsException("a name with two aliases");
        }
      } else if (recordClass == CLASS_IN && type == wantedType) {
        wanted.add(new Owned(owner, ttl, data(in, type, length)));
      } else {
        in.skip(length);
      }
      if (in.position() != end) {
        throw new DnsException("a record is not as long as it says");
      }
    }
    return new Records(aliases, wanted);
  }

  /** With names that are whole, for they may point to anywhere in the message. */
  private static byte[] data(DnsReader in, int type, int length) throws DnsException {
    int numbers =
        switch (type) {
          case DnsType.NS, DnsType.PTR -> 0;
          case DnsType.MX -> 1;
          case DnsType.SRV -> 3;
          default -> -1;
        };
    if (numbers < 0) {
      if (type == DnsType.A && length != 4 || type == DnsType.AAAA && length != 16) {
        throw new DnsException("an address of " + length + " bytes");
      }
      return in.bytes(length);
    }
    DnsWriter whole = new DnsWriter();
    for (int i = 0; i < numbers; i++) {
      whole.u16(in.u16());
    }
    return whole.name(in.name(true)).toByteArray();
  }

  private static Answer follow(Records records, String name, int type) throws DnsException {
    String owner = name;
    long ttl = Long.MAX_VALUE;
    int aliases = 0;
    for (Alias alias = records.aliases.get(owner);
        alias != null;
        alias = records.aliases.get(owner)) {
      if (++aliases > MAX_ALIASES) {
        throw new DnsException("more than " + MAX_ALIASES + " aliases, or they go round");
      }
      owner = alias.target;
      ttl = Math.min(ttl, alias.ttl);
    }
    boolean addresses = type == DnsType.A || type == DnsType.AAAA;
    List<Ip> ips = new ArrayList<>();
    List<byte[]> data = new ArrayList<>();
    for (Owned record : records.wanted) {
      if (!record.owner.equals(owner) || ips.size() + data.size() == MAX_KEPT) {
        continue;
      }
      if (!addresses) {
        data.add(record.data);
      } else {
        Ip ip = Ip.read(ByteBuffer.wrap(record.data), record.data.length);
        if (ip.v6() != (type == DnsType.AAAA)) {
          continue; // mapped, which nobody publishes who means well
        }
        ips.add(ip);
      }
      ttl = Math.min(ttl, record.ttl);
    }
    boolean found = !ips.isEmpty() || !data.isEmpty();
    return new Answer(NOERROR, false, List.copyOf(ips), List.copyOf(data), found ? ttl : 0);
  }

  /** Messages over TCP, each behind its length (RFC 1035 section 4.2.2), as they come. */
  static final class Stream {
    private final byte[] length = new byte[2];
    private int lengthBytes;
    private byte @Nullable [] message;
    private int messageBytes;

    /**
     * Takes bytes up to the end of a message.
     *
     * @return the message; null where all was taken and it is not whole yet
     * @throws DnsException when it is longer than a question can be, and nothing more can be read
     */
    byte @Nullable [] next(ByteBuffer in) throws DnsException {
      while (in.hasRemaining()) {
        if (lengthBytes < length.length) {
          length[lengthBytes++] = in.get();
          if (lengthBytes < length.length) {
            continue;
          }
          int expected = (length[0] & 0xff) << 8 | length[1] & 0xff;
          if (expected > MAX_QUERY) {
            throw new DnsException("a question is of at most " + MAX_QUERY + " bytes");
          }
          message = new byte[expected];
          messageBytes = 0;
        }
        byte[] whole = Objects.requireNonNull(message);
        int count = Math.min(in.remaining(), whole.length - messageBytes);
        in.get(whole, messageBytes, count);
        messageBytes += count;
        if (messageBytes == whole.length) {
          lengthBytes = 0;
          message = null;
          return whole;
        }
      }
      return null;
    }
  }
}
