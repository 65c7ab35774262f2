// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ImageException;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.RegistryCredentials;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.testing.FaultProxy;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.image.testing.Script;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.internal.OperatingSystem;
import dev.nacelle.internal.OtherProcess;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Logs in to a real registry with a password and TLS, and to token services. */
class RegistryLoginTest {
  private static final String SECRET = "sEcReT-that-nobody-sees";
  private static final String TOKEN = "tOkEn.that-nobody-sees";

  /** Of an address; the JDK's HTTP client has whole addresses in its debug log. */
  private static final String SIGNATURE = "sIgNaTuRe-that-nobody-sees";

  private static final Logger ROOT_LOGGER = Logger.getLogger("");

  @TempDir static Path shared;
  private static RegistryServer secure;
  private static RegistryServer open;

  @TempDir Path temp;
  private FaultProxy proxy;
  private final Level rootLevel = ROOT_LOGGER.getLevel();
  private final Queue<String> logged = new ConcurrentLinkedQueue<>();
  private final Handler logHandler =
      new Handler() {
        @Override
        public void publish(LogRecord record) {
          logged.add(new SimpleFormatter().format(record)); // with the stack trace
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
      };

  @BeforeAll
  static void fillRegistries() throws IOException {
    LayoutMaker layout = new LayoutMaker(shared.resolve("layout"));
    layout.add(
        layout.image(
            "linux/amd64", layout.gzipLayer(new TarMaker().file("hello", "there").finish())));
    secure = RegistryServer.secure(shared.resolve("secure"));
    secure.push("oci:" + layout.directory(), "private/app:1");
    open = RegistryServer.open(shared.resolve("open"));
    open.push("oci:" + layout.directory(), "private/app:1");
  }

  @AfterAll
  static void stopRegistries() throws IOException {
    secure.close();
    open.close();
  }

  @BeforeEach
  void startProxy() throws IOException {
    proxy = new FaultProxy("http://" + open.host());
    ROOT_LOGGER.addHandler(logHandler);
    ROOT_LOGGER.setLevel(Level.ALL);
  }

  @AfterEach
  void stopProxy() throws IOException {
    ROOT_LOGGER.removeHandler(logHandler);
    ROOT_LOGGER.setLevel(rootLevel);
    proxy.close();
    for (String line : logged) {
      assertNoSecret(line);
    }
  }

  private static void assertNoSecret(String text) {
    for (String secret :
        List.of(
            SECRET,
            TOKEN,
            base64("bob:" + SECRET),
            RegistryServer.PASSWORD,
            base64(RegistryServer.USER + ":" + RegistryServer.PASSWORD))) {
      assertFalse(text.contains(secret), text);
    }
  }

  private static String base64(String text) {
    return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }

  private RegistryOptions.Builder tls() {
    return RegistryOptions.builder()
        .credentialFiles()
        .certificates(secure.host(), secure.certificate());
  }

  private RegistryOptions.Builder http() {
    return RegistryOptions.builder().credentialFiles().plainHttp(proxy.host());
  }

  private ImageRef ref() {
    return ImageRef.parse(secure.host() + "/private/app:1");
  }

  private ImageRef proxied() {
    return ImageRef.parse(proxy.host() + "/private/app:1");
  }

  private ResolvedImage pull(RegistryOptions.Builder options, ImageRef ref) {
    return new ImageStore(temp.resolve("store"), ImageLimits.DEFAULT, options.build(), pause -> {})
        .resolve(ref);
  }

  /** What it says, after its whole trace was looked at for secrets. */
  private String fault(RegistryOptions.Builder options, ImageRef ref) {
    ImageException fault = assertThrows(ImageException.class, () -> pull(options, ref));
    StringWriter trace = new StringWriter();
    fault.printStackTrace(new PrintWriter(trace, true));
    assertNoSecret(trace.toString());
    assertFalse(trace.toString().contains(SIGNATURE), trace::toString);
    assertNoSecret(options.build().toString());
    return fault.reason() + ": " + fault.getMessage();
  }

  private static void assertContains(String text, String... parts) {
    for (String part : parts) {
      assertTrue(text.contains(part), "'" + part + "' in: " + text);
    }
  }

  private static RegistryCredentials right() {
    return RegistryCredentials.password(RegistryServer.USER, RegistryServer.PASSWORD);
  }

  @Test
  void aPasswordOpensAPrivateRegistry() {
    assertEquals(ref(), pull(tls().credentials(secure.host(), right()), ref()).ref());
  }

  @Test
  void aPasswordMayBeForAPathOnly() {
    RegistryOptions.Builder options =
        tls()
            .credentials(secure.host(), RegistryCredentials.password("bob", SECRET))
            .credentials(secure.host() + "/private", right());

    assertEquals(ref(), pull(options, ref()).ref());
  }

  @Test
  void aWrongPasswordIsSaid() {
    assertContains(
        fault(tls().credentials(secure.host(), RegistryCredentials.password("bob", SECRET)), ref()),
        "UNAUTHORIZED: ",
        secure.host() + " refuses the password of 'bob' for private/app",
        "Check the user name and the password");
  }

  @Test
  void thatSomebodyHasToLogInIsSaid() {
    assertContains(
        fault(tls(), ref()),
        "UNAUTHORIZED: ",
        secure.host() + " wants somebody to be logged in",
        "docker login " + secure.host());
  }

  @Test
  void aCertificateOfNobodyKnownIsRefused() {
    RegistryOptions.Builder options =
        RegistryOptions.builder().credentialFiles().credentials(secure.host(), right());

    assertContains(
        fault(options, ref()),
        "UNTRUSTED: ",
        "The certificate of https://" + secure.host() + " is not trusted",
        "RegistryOptions certificates");
  }

  @Test
  void aCertificateForAnotherNameIsRefused() {
    String byAddress = secure.host().replace("localhost", "127.0.0.1");
    RegistryOptions.Builder options =
        tls().certificates(byAddress, secure.certificate()).credentials(byAddress, right());

    assertContains(
        fault(options, ImageRef.parse(byAddress + "/private/app:1")),
        "The certificate of https://" + byAddress + " is not trusted",
        "if it names another host, use that name");
  }

  @Test
  void aFileWithoutCertificateIsSaid() throws IOException {
    Path file = Files.writeString(temp.resolve("empty.pem"), "");

    assertContains(
        fault(RegistryOptions.builder().credentialFiles().certificates(secure.host(), file), ref()),
        "CONFIGURATION: ",
        "There is no certificate in " + file);
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "there are no FIFOs in the file systems of Windows")
  @Test
  void aCertificateThatIsNoFileIsNotWaitedFor() throws Exception {
    Path fifo = temp.resolve("fifo.pem");
    assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());

    assertContains(
        fault(RegistryOptions.builder().credentialFiles().certificates(secure.host(), fifo), ref()),
        "is a FIFO, a socket or a device");
  }

  @Test
  void tlsMayBeLeftToAContext() throws Exception {
    KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
    trusted.load(null, null);
    try (var in = Files.newInputStream(secure.certificate())) {
      trusted.setCertificateEntry(
          "registry", CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    TrustManagerFactory factory =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    factory.init(trusted);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, factory.getTrustManagers(), null);
    RegistryOptions.Builder options =
        RegistryOptions.builder()
            .credentialFiles()
            .sslContext(secure.host(), context)
            .credentials(secure.host(), right());

    assertEquals(ref(), pull(options, ref()).ref());
  }

  @Test
  void httpToAServerWithTlsIsSaid() {
    assertContains(
        fault(RegistryOptions.builder().credentialFiles().plainHttp(secure.host()), ref()),
        "CONFIGURATION: ",
        "HTTP to an HTTPS server",
        "take it out of RegistryOptions plainHttp");
  }

  private Path file(String json) throws IOException {
    return Files.writeString(temp.resolve("config.json"), json);
  }

  private static String auth(String user, String password) {
    return "{\"auth\":\"" + base64(user + ":" + password) + "\"}";
  }

  @Test
  void credentialsComeFromDockersFile() throws IOException {
    Path file =
        file(
            "{\"auths\":{\"https://%s/v1/\":%s}}"
                .formatted(secure.host(), auth(RegistryServer.USER, RegistryServer.PASSWORD)));

    assertEquals(ref(), pull(tls().credentialFiles(file), ref()).ref());
  }

  @Test
  void theMostExactEntryOfAFileCounts() throws IOException {
    Path file =
        file(
            "{\"auths\":{\"%1$s\":%2$s,\"%1$s/private/app\":%3$s}}"
                .formatted(
                    secure.host(),
                    auth("bob", SECRET),
                    auth(RegistryServer.USER, RegistryServer.PASSWORD)));

    assertEquals(ref(), pull(tls().credentialFiles(file), ref()).ref());
  }

  @Test
  void anAbsentFileIsPassedOver() throws IOException {
    Path file =
        file(
            "{\"auths\":{\"%s\":%s}}"
                .formatted(secure.host(), auth(RegistryServer.USER, RegistryServer.PASSWORD)));

    assertEquals(
        ref(), pull(tls().credentialFiles(temp.resolve("absent.json"), file), ref()).ref());
  }

  @Test
  void aDamagedFileIsSaidWithoutItsContent() throws IOException {
    assertContains(
        fault(tls().credentialFiles(file("{\"auths\":" + SECRET)), ref()),
        "CONFIGURATION: ",
        "are no JSON object");
    assertContains(
        fault(
            tls()
                .credentialFiles(
                    file(
                        "{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}".formatted(secure.host(), SECRET))),
            ref()),
        "not USER:PASSWORD in base64");
  }

  @Test
  void aHelperThatHangsEndsWithThePull() throws IOException {
    proxy.fail("/v2/", FaultProxy.status(401, CHALLENGE, "Basic realm=x"));
    Script.write(temp, "docker-credential-hangs", "exec sleep 1000");

    String said =
        OtherProcess.runWithPrograms(
            temp,
            ImpatientPull.class,
            temp.resolve("store"),
            proxied(),
            file("{\"credsStore\":\"hangs\"}"));

    assertContains(
        said, "credential helper docker-credential-hangs", "within the timeout of the pull");
  }

  /** Pulls for less time than helpers have, and prints why that failed. */
  static final class ImpatientPull {
    private ImpatientPull() {}

    public static void main(String[] args) {
      ImageRef ref = ImageRef.parse(args[1]);
      RegistryOptions options =
          RegistryOptions.builder()
              .plainHttp(ref.registry().orElseThrow())
              .credentialFiles(Path.of(args[2]))
              .pullTimeout(Duration.ofSeconds(OperatingSystem.isWindows() ? 20 : 10))
              .build();
      try {
        new ImageStore(Path.of(args[0]), ImageLimits.DEFAULT, options).resolve(ref);
      } catch (ImageException e) {
        System.out.println(e.getMessage());
      }
    }
  }

  private static final String CHALLENGE = "www-authenticate";

  /** A service of tokens at the proxy itself, and a registry that wants one of them. */
  private void requireToken() {
    proxy.fail(
        "/v2/",
        (request, upstream, client, out) -> {
          if (request.header("authorization").equals("Bearer " + TOKEN)) {
            FaultProxy.Reply reply = upstream.ask();
            reply.writeHead(out);
            out.write(reply.body());
          } else {
            FaultProxy.status(
                    401,
                    CHALLENGE,
                    "Bearer realm=\"http://%s/token\",service=\"a \\\"service\\\"\",scope=\"repository:private/app:pull\""
                        .formatted(proxy.host()))
                .answer(request, upstream, client, out);
          }
        });
  }

  private void giveToken() {
    proxy.fail("/token", FaultProxy.says(200, "{\"token\":\"" + TOKEN + "\",\"expires_in\":60}"));
  }

  @Test
  void anonymousGetATokenToo() {
    requireToken();
    giveToken();

    assertEquals(proxied(), pull(http(), proxied()).ref());

    assertEquals(1, proxy.requests("/token").size());
    FaultProxy.Request request = proxy.requests("/token").get(0);
    assertEquals("GET", request.method());
    assertEquals("", request.header("authorization"));
    assertContains(
        request.path(),
        "service=a+%22service%22",
        "scope=repository%3Aprivate%2Fapp%3Apull",
        "client_id=nacelle");
  }

  @Test
  void aPasswordIsTurnedIntoAToken() {
    requireToken();
    giveToken();

    pull(http().credentials(proxy.host(), RegistryCredentials.password("bob", SECRET)), proxied());

    FaultProxy.Request request = proxy.requests("/token").get(0);
    assertEquals("Basic " + base64("bob:" + SECRET), request.header("authorization"));
    assertContains(request.path(), "account=bob");
    proxy
        .requests("/v2/")
        .forEach(
            r ->
                assertFalse(r.header("authorization").startsWith("Basic"), "the password went on"));
  }

  @Test
  void anIdentityTokenIsTurnedIntoAToken() throws IOException {
    requireToken();
    proxy.fail("/token", FaultProxy.says(200, "{\"access_token\":\"" + TOKEN + "\"}"));
    Path file =
        file("{\"auths\":{\"%s\":{\"identitytoken\":\"%s\"}}}".formatted(proxy.host(), SECRET));

    pull(http().credentialFiles(file), proxied());

    FaultProxy.Request request = proxy.requests("/token").get(0);
    assertEquals("POST", request.method());
    assertEquals("/token", request.path());
    assertContains(
        request.body(),
        "grant_type=refresh_token",
        "refresh_token=" + SECRET,
        "scope=repository%3Aprivate%2Fapp%3Apull");
  }

  @Test
  void aRegistryTokenIsUsedAsItIs() {
    requireToken();

    pull(http().credentials(proxy.host(), RegistryCredentials.registryToken(TOKEN)), proxied());

    assertEquals(List.of(), proxy.requests("/token"));
  }

  @Test
  void anExpiredTokenIsReplaced() {
    proxy.fail("/token", 1, FaultProxy.says(200, "{\"token\":\"old\"}"));
    giveToken();
    proxy.fail(
        "/manifests/",
        (request, upstream, client, out) -> {
          if (request.header("authorization").isEmpty()) {
            FaultProxy.status(401, CHALLENGE, "Bearer realm=\"http://" + proxy.host() + "/token\"")
                .answer(request, upstream, client, out);
          } else {
            FaultProxy.Reply reply = upstream.ask();
            reply.writeHead(out);
            out.write(reply.body());
          }
        });
    requireToken();

    assertEquals(proxied(), pull(http(), proxied()).ref());
    assertEquals(2, proxy.requests("/token").size());
  }

  @Test
  void aRefusedPasswordAtTheTokenServiceIsSaid() {
    requireToken();
    proxy.fail("/token", FaultProxy.says(401, "{\"details\":\"incorrect " + SECRET + "\"}"));

    assertContains(
        fault(
            http().credentials(proxy.host(), RegistryCredentials.password("bob", SECRET)),
            proxied()),
        "refuses the password of 'bob'");
  }

  @Test
  void aTokenThatIsNotAcceptedIsAskedForOnce() {
    requireToken();
    proxy.fail("/token", FaultProxy.says(200, "{\"token\":\"another\"}"));

    assertContains(fault(http(), proxied()), "wants somebody to be logged in");
    assertEquals(1, proxy.requests("/token").size());
  }

  @Test
  void aBrokenTokenServiceIsTriedAgain() {
    requireToken();
    proxy.fail("/token", 1, FaultProxy.status(503));
    giveToken();

    assertEquals(proxied(), pull(http(), proxied()).ref());
  }

  @Test
  void whatIsNoTokenIsRefused() {
    requireToken();
    proxy.fail("/token", 1, FaultProxy.says(200, "<html>" + TOKEN));
    proxy.fail("/token", 1, FaultProxy.says(200, "{\"token\":\"" + TOKEN + "\\r\\nx: y\"}"));
    proxy.fail("/token", 1, FaultProxy.says(200, "{}"));
    proxy.fail("/token", FaultProxy.endless());

    assertContains(fault(http(), proxied()), "no JSON object with a token");
    assertContains(fault(http(), proxied()), "characters that no token has");
    assertContains(fault(http(), proxied()), "no JSON object with a token");
    // Endless: what the registry itself answers to "/token" comes first, then zeros.
    assertContains(fault(http(), proxied()), "token");
  }

  @Test
  void aChallengeThatNamesNoServiceIsSaid() {
    proxy.fail("/v2/", FaultProxy.status(401, CHALLENGE, "Bearer service=x"));

    assertContains(fault(http(), proxied()), "REGISTRY_FAULT: ", "it names no token service");
  }

  @Test
  void aTokenServiceWithoutTlsIsNotToldAPassword() {
    proxy.fail(
        "/v2/", FaultProxy.status(401, CHALLENGE, "Bearer realm=\"http://localhost:1/token\""));

    assertContains(
        fault(
            http().credentials(proxy.host(), RegistryCredentials.password("bob", SECRET)),
            proxied()),
        "http://localhost:1 is without TLS");
  }

  @Test
  void nothingSecretFollowsARedirectToAnotherHost() throws IOException {
    try (FaultProxy other = new FaultProxy("http://" + open.host())) {
      requireToken(FaultProxy.redirect("http://" + other.host()));
      giveToken();

      pull(
          http()
              .plainHttp(other.host())
              .credentials(proxy.host(), RegistryCredentials.password("bob", SECRET)),
          proxied());

      assertFalse(other.requests().isEmpty());
      other.requests().forEach(r -> assertEquals("", r.header("authorization")));
    }
  }

  /** As above, where blobs with a token are redirected. */
  private void requireToken(FaultProxy.Fault redirect) {
    proxy.fail(
        "/blobs/",
        (request, upstream, client, out) ->
            (request.header("authorization").isEmpty()
                    ? FaultProxy.status(
                        401, CHALLENGE, "Bearer realm=\"http://" + proxy.host() + "/token\"")
                    : redirect)
                .answer(request, upstream, client, out));
    requireToken();
  }

  @Test
  void anotherHostsChallengeIsNotAnswered() throws IOException {
    try (FaultProxy other = new FaultProxy("http://" + open.host())) {
      proxy.fail("/blobs/", FaultProxy.redirect("http://" + other.host()));
      other.fail("", FaultProxy.status(401, CHALLENGE, "Basic realm=x"));

      fault(
          http()
              .plainHttp(other.host())
              .credentials(proxy.host(), RegistryCredentials.password("bob", SECRET))
              .credentials(other.host(), RegistryCredentials.password("bob", SECRET)),
          proxied());

      assertEquals(1, other.requests().size());
      proxy.requests().forEach(r -> assertEquals("", r.header("authorization")));
    }
  }

  @Test
  void aMirrorIsNotToldTheRegistrysPassword() throws IOException {
    try (FaultProxy mirror = new FaultProxy("http://" + open.host())) {
      mirror.fail("", FaultProxy.status(401, CHALLENGE, "Basic realm=x"));

      pull(
          http()
              .plainHttp(mirror.host())
              .mirrors(proxy.host(), mirror.host())
              .credentials(proxy.host(), RegistryCredentials.password("bob", SECRET)),
          proxied());

      assertFalse(mirror.requests().isEmpty());
      mirror.requests().forEach(r -> assertEquals("", r.header("authorization")));
    }
  }

  @Test
  void signedAddressesOfARedirectAreNotShown() {
    proxy.fail(
        "/blobs/",
        FaultProxy.status(307, "location", "http://localhost:1/x?signature=" + SIGNATURE));

    assertContains(fault(http().plainHttp("localhost:1"), proxied()), "http://localhost:1");
  }
}
