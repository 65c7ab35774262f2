// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.ToolsNetwork.ADDRESS;
import static dev.nacelle.net.ToolsNetwork.NAME;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.net.PlayedNameServer.Asked;
import dev.nacelle.net.PlayedNameServer.Entry;
import dev.nacelle.net.ToolsNetwork.Ended;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.DnsRecordType;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkPolicy;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** This machine's own tools for names and the web in a sandbox's network. */
@Timeout(120)
@EnabledOnOs(value = OS.LINUX, disabledReason = "the guest's half needs a network namespace")
class NetworkToolsTest {
  private static final NetworkPolicy POLICY =
      NetworkPolicy.builder()
          .allow(Egress.web(NAME, "*.wild.example"))
          .dnsRecords(DnsRecordType.TXT)
          .build();

  private static final int TXT_LENGTH = 255;

  @TempDir private static Path directory;
  private ToolsNetwork network;
  private PlayedNameServer upstream;

  @BeforeEach
  void begin() throws Exception {
    network = new ToolsNetwork(directory, POLICY).greets();
    upstream = network.upstream;
  }

  @AfterEach
  void end() throws IOException {
    if (network != null) {
      network.close();
    }
  }

  private Ended run(String script) throws Exception {
    return network.run(script);
  }

  private static void assertHas(Ended ended, String... parts) {
    for (String part : parts) {
      assertTrue(ended.output().contains(part), () -> part + " is not in: " + ended);
    }
  }

  @Test
  void digAsksWhomItLikesAndIsAnsweredByTheHost() throws Exception {
    Ended ended =
        run(
            "dig +noall +answer a.example;"
                + "dig +noall +answer @8.8.8.8 a.example;"
                + "dig +noall +answer +tcp @1.1.1.1 x.wild.example;"
                + "dig +noall +answer @2001:4860:4860::8888 x.wild.example");
    assertEquals(0, ended.code(), ended.output());
    assertTrue(
        ended
            .output()
            .matches(
                "(?s)(a\\.example\\.\\s+60\\s+IN\\s+A\\s+93\\.184\\.216\\.34\n){2}"
                    + "(x\\.wild\\.example\\.\\s+60\\s+IN\\s+A\\s+93\\.184\\.216\\.34\n){2}"),
        ended.output());
    assertEquals(4, upstream.asked().size());
  }

  @Test
  void digIsToldWhatIsDenied() throws Exception {
    Ended ended =
        run(
            "dig denied.example; dig +tcp denied.example; dig @8.8.8.8 TXT data.tunnel.example;"
                + "dig a.example ANY; dig a.example MX; dig a.example TYPE65;"
                + "dig CH TXT version.bind");
    assertEquals(0, ended.code(), ended.output());
    assertEquals(3, count(ended.output(), "status: NXDOMAIN"), ended.output());
    assertEquals(3, count(ended.output(), "EDE: 15 (Blocked): (no rule"), ended.output());
    // ANY is asked over TCP, MX over UDP.
    assertEquals(2, count(ended.output(), "EDE: 15 (Blocked): (the sandbox's"), ended.output());
    assertEquals(3, count(ended.output(), "status: NOERROR"), ended.output());
    assertEquals(1, count(ended.output(), "status: REFUSED"), ended.output());
    assertFalse(ended.output().contains("WARNING: recursion"), ended.output());
    assertFalse(ended.output().contains("Truncated"), ended.output());
    assertEquals(List.of(), upstream.asked());
  }

  private static int count(String text, String part) {
    return text.split(Pattern.quote(part), -1).length - 1;
  }

  @Test
  void digComesBackOverTcpForWhatDoesNotFit() throws Exception {
    byte[] text = new byte[1 + TXT_LENGTH];
    Arrays.fill(text, (byte) 'x');
    text[0] = (byte) TXT_LENGTH;
    Entry[] many =
        IntStream.range(0, 60)
            .mapToObj(i -> new Entry(NAME, DnsType.TXT, 60, text))
            .toArray(Entry[]::new);
    upstream.answers(
        NAME,
        DnsType.TXT,
        asked ->
            List.of(
                PlayedNameServer.answer(
                    asked, DnsMessage.NOERROR, !asked.tcp(), asked.tcp() ? many : new Entry[0])));
    Ended ended = run("dig a.example TXT");
    assertHas(ended, "Truncated, retrying in TCP mode", "ANSWER: 60,", "(TCP)");
    assertEquals(
        List.of(false, true, false, true), upstream.asked().stream().map(Asked::tcp).toList());
  }

  @Test
  void theCLibraryFindsNames() throws Exception {
    Ended ended =
        run(
            "getent ahosts a.example; getent hosts denied.example; echo $?;"
                + "getent ahostsv4 x.wild.example");
    assertEquals(0, ended.code(), ended.output());
    assertHas(ended, ADDRESS + "   STREAM a.example", "2\n", ADDRESS + "   STREAM x.wild.example");
  }

  @Test
  void curlGetsWhatIsAllowedByName() throws Exception {
    Ended ended =
        run(
            "curl -sS --cacert ca.pem https://a.example/tls;"
                + "curl -sS http://a.example/plain http://a.example/again");
    assertEquals(0, ended.code(), ended.output());
    assertEquals("hello a.example\nhello a.example\nhello a.example\n", ended.output());
    assertEquals(
        List.of(
            "HTTP/1.1 a.example /tls", "HTTP/1.1 a.example /plain", "HTTP/1.1 a.example /again"),
        network.requests());
  }

  @Test
  void anotherNameInTheHandshakeEndsIt() throws Exception {
    // As a neighbour at the same address.
    Ended ended =
        run("curl -sSk --connect-to other.example:443:a.example:443 https://other.example/");
    assertEquals(35, ended.code(), ended.output());
    assertEquals(List.of(), network.requests());
    network.assertDenied(DenialReason.SNI_MISMATCH);
  }

  @Test
  void aHandshakeWithoutANameEndsToo() throws Exception {
    Ended ended = run("getent hosts a.example; curl -sSk https://" + ADDRESS + "/");
    assertEquals(35, ended.code(), ended.output());
    assertEquals(List.of(), network.requests());
    network.assertDenied(DenialReason.SNI_MISMATCH);
  }

  @Test
  void eachRequestOfAConnectionHasItsHostLookedAt() throws Exception {
    Ended ended =
        run(
            "curl -sS http://a.example/one --next"
                + " -sS -H 'Host: other.example' http://a.example/two");
    assertTrue(ended.code() != 0, ended.output());
    assertHas(ended, "hello a.example\n", "curl: (");
    assertEquals(List.of("HTTP/1.1 a.example /one"), network.requests());
    network.assertDenied(DenialReason.HOST_MISMATCH);
  }

  @Test
  void anAddressThatWasNotResolvedIsOutOfReachAtOnce() throws Exception {
    Ended ended = run("curl -sS http://" + ADDRESS + "/; curl -sS http://denied.example/");
    assertHas(ended, "curl: (7)", "curl: (6)");
    assertEquals(List.of(), network.requests());
    network.assertDenied(DenialReason.NOT_RESOLVED);
  }
}
