// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.DomainNames;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * The Host of every request that a client sends over a connection of HTTP/1.1 (RFC 9112), as it
 * comes. To find the next request it has to know where one ends exactly as every server does, so
 * what servers are known to read differently is refused: both Content-Length and Transfer-Encoding,
 * a content that waits for leave (Expect), either twice, a coding other than chunked, extensions of
 * chunks, lines that end in LF alone, folded fields, blanks before a colon, a target that names
 * another host. CONNECT and HTTP/2 are refused, too.
 *
 * <p>What remains is content itself: a server that ignores a Content-Length, as some do a GET's,
 * reads the content as its next request, whose Host nobody has checked. It cannot be refused, for
 * every POST has one.
 *
 * <p>A request to switch to another protocol is only taken as a connection's first, without
 * content. What comes behind it waits for the server's {@linkplain Status answer}. After 101 to
 * WebSocket (RFC 6455) everything passes, for it has been agreed on with the host that was named;
 * another protocol is refused then.
 *
 * <p>Keeps at most {@link #MAX_HEAD} bytes of a head.
 */
final class HttpHead {
  /** Of a request's line and its fields, with the empty line. */
  static final int MAX_HEAD = 16 << 10;

  /** What comes next. */
  enum Step {
    /** All was taken, and a head is not whole: it must not be passed on yet. */
    MORE,
    /**
     * A head ends here. It and what was kept back may be passed on if {@link #host()} is allowed.
     */
    HEAD,
    /** Up to here is a request's content: it, and what was kept back, may be passed on. */
    BODY,
    /** Nothing was taken until {@link #answered} is called. */
    HOLD,
    /** The connection must end; {@link #fault} says why. */
    REFUSED
  }

  private enum Mode {
    HEAD,
    LENGTH,
    CHUNK_SIZE,
    CHUNK_DATA,
    CHUNK_END,
    TRAILER,
    SWITCHING,
    SWITCHED,
    REFUSED
  }

  /** More is in no file: 15 digits of base 16. */
  private static final int MAX_CHUNK_DIGITS = 15;

  private static final int MAX_LENGTH_DIGITS = 18;
  private static final int SWITCHING_PROTOCOLS = 101;
  private static final int SMALLEST = 1024;
  private static final byte[] NONE = new byte[0];
  private static final String TOKEN_SIGNS = "!#$%&'*+-.^_`|~";

  private Mode mode = Mode.HEAD;
  private byte[] head = NONE;
  private int headBytes;

  /** Of the content, or of a chunk. */
  private long left;

  private int digits;

  /** After a chunk's size or data: how much of its CRLF there was. */
  private boolean sawReturn;

  private boolean first = true;
  private boolean toWebSocket;
  private @Nullable String host;
  private String fault = "";

  /** Takes bytes up to the end of the next step. */
  Step next(ByteBuffer in) {
    return switch (mode) {
      case HEAD, TRAILER -> nextHead(in);
      case LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END -> nextBody(in);
      case SWITCHING -> Step.HOLD;
      case SWITCHED -> {
        in.position(in.limit());
        yield Step.BODY;
      }
      case REFUSED -> Step.REFUSED;
    };
  }

  /**
   * The host that the last head is for, in canonical form; null where it names none, or what is no
   * name.
   */
  @Nullable String host() {
    return host;
  }

  /** What it keeps a head in, in bytes: none between heads. */
  int memory() {
    return head.length;
  }

  /** Why it was refused; empty where it was not. */
  String fault() {
    return fault;
  }

  /** Whether the server's answer is waited for. */
  boolean isSwitching() {
    return mode == Mode.SWITCHING;
  }

  /**
   * The server has answered a request to switch to another protocol.
   *
   * @param status as {@link Status} finds it
   * @return {@link Step#REFUSED} where it has agreed to one that nobody can look into; else {@link
   *     Step#MORE}
   */
  Step answered(int status) {
    if (mode != Mode.SWITCHING) {
      throw new IllegalStateException("nothing waits for an answer");
    }
    if (status != SWITCHING_PROTOCOLS) {
      mode = Mode.HEAD;
    } else if (toWebSocket) {
      mode = Mode.SWITCHED;
    } else {
      return refuse("a switch to a protocol other than WebSocket");
    }
    return Step.MORE;
  }

  private Step refuse(String why) {
    mode = Mode.REFUSED;
    fault = why;
    host = null;
    drop();
    return Step.REFUSED;
  }

  private Step nextHead(ByteBuffer in) {
    while (in.hasRemaining()) {
      byte octet = in.get();
      if (headBytes == MAX_HEAD) {
        return refuse("a head of more than " + MAX_HEAD + " bytes");
      }
      if (headBytes == head.length) {
        head = Arrays.copyOf(head, Math.max(SMALLEST, 2 * head.length));
      }
      boolean afterReturn = headBytes > 0 && head[headBytes - 1] == '\r';
      if ((octet == '\n') != afterReturn) {
        return refuse("a line that does not end in CR LF");
      }
      if (headBytes == 0 && mode == Mode.HEAD && !isToken((char) (octet & 0xff))) {
        return refuse("not a request of HTTP/1.1");
      }
      if (octet >= 0 && octet < ' ' && octet != '\t' && octet != '\r' && octet != '\n'
          || octet == 0x7f) {
        return refuse("a control character in a head");
      }
      head[headBytes++] = octet;
      boolean ends =
          octet == '\n' && (headBytes == 2 || headBytes >= 4 && head[headBytes - 3] == '\n');
      if (ends) {
        return mode == Mode.HEAD ? endOfHead() : endOfTrailer();
      }
    }
    return Step.MORE;
  }

  private Step endOfTrailer() {
    // Only CRLF, or lines before it.
    String text = text();
    if (headBytes > 2) {
      String[] lines = text.substring(0, headBytes - 4).split("\r\n", -1);
      for (String line : lines) {
        int colon = colon(line);
        if (colon < 0 || isForFraming(line.substring(0, colon))) {
          return refuse("a trailer that is malformed, or is for a head alone");
        }
      }
    }
    mode = Mode.HEAD;
    drop();
    return Step.BODY;
  }

  /** RFC 9110 section 6.5.1: a server that merged it with the head would read another request. */
  private static boolean isForFraming(String name) {
    return switch (name.toLowerCase(Locale.ROOT)) {
      case "host", "content-length", "transfer-encoding", "upgrade" -> true;
      default -> false;
    };
  }

  private void drop() {
    head = NONE;
    headBytes = 0;
  }

  private String text() {
    return new String(head, 0, headBytes, StandardCharsets.ISO_8859_1);
  }

  /** The index of a field's colon; -1 where it is no field. */
  private static int colon(String line) {
    int colon = line.indexOf(':');
    if (colon < 1) {
      return -1;
    }
    for (int i = 0; i < colon; i++) {
      if (!isToken(line.charAt(i))) {
        return -1; // a blank before the colon, or a folded line
      }
    }
    return colon;
  }

  private static boolean isToken(char c) {
    return c >= 'a' && c <= 'z'
        || c >= 'A' && c <= 'Z'
        || c >= '0' && c <= '9'
        || TOKEN_SIGNS.indexOf(c) >= 0;
  }

  /** What matters of a head. */
  private static final class Fields {
    private @Nullable String host;
    private @Nullable String length;
    private @Nullable String coding;
    private @Nullable String upgrade;
    private @Nullable String expect;
    private boolean twice;

    void add(String name, String value) {
      switch (name.toLowerCase(Locale.ROOT)) {
        case "host" -> host = once(host, value);
        case "content-length" -> length = once(length, value);
        case "transfer-encoding" -> coding = once(coding, value);
        case "upgrade" -> upgrade = once(upgrade, value);
        case "expect" -> expect = once(expect, value);
        default -> {
          // for the server alone
        }
      }
    }

    private String once(@Nullable String before, String value) {
      twice |= before != null;
      return value;
    }
  }

  private Step endOfHead() {
    String text = text();
    drop();
    if (text.length() < 4) {
      return refuse("an empty line in place of a request");
    }
    String[] lines = text.substring(0, text.length() - 4).split("\r\n", -1);
    String[] request = lines[0].split(" ", -1);
    if (request.length != 3 || !isMethod(request[0]) || request[1].isEmpty()) {
      return refuse("a malformed request line");
    }
    boolean isOld = request[2].equals("HTTP/1.0");
    if (request[2].startsWith("HTTP/2")) {
      return refuse("HTTP/2 without TLS");
    } else if (!isOld && !request[2].equals("HTTP/1.1")) {
      return refuse("a version of HTTP other than 1.0 and 1.1");
    }
    Fields fields = new Fields();
    for (int i = 1; i < lines.length; i++) {
      int colon = colon(lines[i]);
      if (colon < 0) {
        return refuse("a malformed or folded field");
      }
      fields.add(lines[i].substring(0, colon), trim(lines[i].substring(colon + 1)));
    }
    if (fields.twice) {
      return refuse("a field twice that there is once");
    }
    return readHost(request[0], request[1], fields) ? readLength(fields, isOld) : Step.REFUSED;
  }

  private static boolean isMethod(String method) {
    for (int i = 0; i < method.length(); i++) {
      if (!isToken(method.charAt(i))) {
        return false;
      }
    }
    return !method.isEmpty();
  }

  /** Without blanks and tabs around it: OWS of RFC 9110 section 5.6.3. */
  private static String trim(String value) {
    int start = 0;
    int end = value.length();
    while (start < end && (value.charAt(start) == ' ' || value.charAt(start) == '\t')) {
      start++;
    }
    while (end > start && (value.charAt(end - 1) == ' ' || value.charAt(end - 1) == '\t')) {
      end--;
    }
    return value.substring(start, end);
  }

  private boolean readHost(String method, String target, Fields fields) {
    if (method.equals("CONNECT")) {
      refuse("CONNECT, which is for a proxy");
      return false;
    }
    host = fields.host == null ? null : nameOf(fields.host);
    if (target.startsWith("/") || target.equals("*") && method.equals("OPTIONS")) {
      return true;
    }
    // RFC 9112 section 3.2.2: a server goes by it and not by the Host.
    String scheme = "http://";
    int length = scheme.length();
    if (!target.regionMatches(true, 0, scheme, 0, length)) {
      refuse("a target that is neither a path nor an http URL");
      return false;
    }
    int end = length;
    while (end < target.length() && "/?#".indexOf(target.charAt(end)) < 0) {
      end++;
    }
    String authority = target.substring(length, end);
    if (fields.host == null || !authority.equalsIgnoreCase(fields.host)) {
      refuse("a target on another host than the Host");
      return false;
    }
    return true;
  }

  /** RFC 9110 section 7.2: a name, and a port where it is not the usual one. */
  private static @Nullable String nameOf(String host) {
    int colon = host.indexOf(':');
    if (colon >= 0) {
      for (int i = colon + 1; i < host.length(); i++) {
        if (host.charAt(i) < '0' || host.charAt(i) > '9') {
          return null;
        }
      }
    }
    return DomainNames.canonical(colon < 0 ? host : host.substring(0, colon));
  }

  private Step readLength(Fields fields, boolean isOld) {
    if (fields.coding != null) {
      if (fields.length != null || isOld || !fields.coding.equalsIgnoreCase("chunked")) {
        return refuse("a content whose end is not clear");
      }
      beginChunk();
    } else if (fields.length != null) {
      if (!fields.length.matches("\\d{1," + MAX_LENGTH_DIGITS + "}")) {
        return refuse("a Content-Length that is no number");
      }
      left = Long.parseLong(fields.length);
      mode = left > 0 ? Mode.LENGTH : Mode.HEAD;
    } else {
      mode = Mode.HEAD;
    }
    if (fields.expect != null && mode != Mode.HEAD) {
      // RFC 9110 section 10.1.1: who answers otherwise may take what follows for another request.
      return refuse("a content that waits for the server's leave (Expect)");
    }
    if (fields.upgrade != null) {
      if (!first || mode != Mode.HEAD) {
        return refuse("a switch of protocols that is not asked for first, or with content");
      }
      toWebSocket = fields.upgrade.equalsIgnoreCase("websocket");
      mode = Mode.SWITCHING;
    }
    first = false;
    return Step.HEAD;
  }

  private void beginChunk() {
    mode = Mode.CHUNK_SIZE;
    left = 0;
    digits = 0;
    sawReturn = false;
  }

  private Step nextBody(ByteBuffer in) {
    int start = in.position();
    while (in.hasRemaining()) {
      if (mode == Mode.LENGTH || mode == Mode.CHUNK_DATA) {
        int count = (int) Math.min(in.remaining(), left);
        in.position(in.position() + count);
        left -= count;
        if (left == 0) {
          sawReturn = false;
          mode = mode == Mode.LENGTH ? Mode.HEAD : Mode.CHUNK_END;
        }
      } else if (!chunkLine(in.get(in.position()))) {
        // What is before it may have been passed on; this must not be.
        return in.position() > start ? Step.BODY : refuse("a malformed chunk");
      } else {
        in.get();
      }
      if (mode == Mode.HEAD || mode == Mode.TRAILER) {
        return Step.BODY;
      }
    }
    return in.position() > start ? Step.BODY : Step.MORE;
  }

  /** A byte of a chunk's size, or of the end of its line or data; false where it is wrong. */
  private boolean chunkLine(byte octet) {
    if (sawReturn) {
      if (octet != '\n') {
        return false;
      }
      if (mode == Mode.CHUNK_END) {
        beginChunk();
      } else if (left == 0) {
        mode = Mode.TRAILER;
      } else {
        mode = Mode.CHUNK_DATA;
      }
      sawReturn = false;
      return true;
    }
    if (octet == '\r') {
      sawReturn = true;
      return mode == Mode.CHUNK_END || digits > 0;
    }
    int digit = octet < 0 ? -1 : Character.digit(octet, 16);
    if (mode == Mode.CHUNK_END || digit < 0 || ++digits > MAX_CHUNK_DIGITS) {
      return false;
    }
    left = left << 4 | digit;
    return true;
  }

  /**
   * The status of a server's first answer that is not an interim one (RFC 9110 section 15.2), but
   * for 101. It looks, and takes nothing.
   */
  static final class Status {
    private static final int STATUS_LINE = 12;
    private static final String VERSION = "HTTP/1.";

    private final byte[] line = new byte[STATUS_LINE];
    private int lineBytes;
    private int headBytes;
    private int breaks;

    /**
     * Looks at what came next.
     *
     * @return the status; 0 where it is not known yet; -1 where it is no answer of HTTP/1.1
     */
    int feed(ByteBuffer in) {
      for (int i = in.position(); i < in.limit(); i++) {
        byte octet = in.get(i);
        if (++headBytes > MAX_HEAD) {
          return -1;
        }
        if (lineBytes < STATUS_LINE) {
          line[lineBytes++] = octet;
          if (lineBytes == STATUS_LINE) {
            int status = status();
            if (status < 0 || status >= 200 || status == SWITCHING_PROTOCOLS) {
              return status;
            }
          }
          continue;
        }
        breaks = octet == '\n' ? breaks + 1 : octet == '\r' ? breaks : 0;
        if (breaks == 2) {
          lineBytes = 0;
          breaks = 0;
          headBytes = 0;
        }
      }
      return 0;
    }

    private int status() {
      String text = new String(line, StandardCharsets.ISO_8859_1);
      return text.matches(VERSION + "\\d [1-9]\\d\\d") ? Integer.parseInt(text.substring(9)) : -1;
    }
  }
}
