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
import dev.nacelle.image.testing.TarMaker;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A real registry behind proxies that do what registries elsewhere are known for. */
class RegistryOdditiesTest {
  private static final String CHALLENGE = "www-authenticate";
  private static final RegistryCredentials ALICE = RegistryCredentials.password("alice", "for-a");
  private static final RegistryCredentials BOB = RegistryCredentials.password("bob", "for-b");
  private static final String BASIC_ALICE = basic("alice:for-a");
  private static final String BASIC_BOB = basic("bob:for-b");

  @TempDir static Path shared;
  private static RegistryServer registry;

  @TempDir Path temp;

  /** What is pulled from, and what that may refer to. */
  private FaultProxy proxy;

  private FaultProxy other;

  @BeforeAll
  static void fillRegistry() throws IOException {
    LayoutMaker layout = new LayoutMaker(shared.resolve("layout"));
    LayoutMaker.Layer layer = layout.gzipLayer(new TarMaker().file("hello", "there").finish());
    layout.add(layout.image("linux/amd64", layer, layer));
    registry = RegistryServer.open(shared.resolve("registry"));
    registry.push("oci:" + layout.directory(), "private/app:1");
  }

  @AfterAll
  static void stopRegistry() throws IOException {
    registry.close();
  }

  @BeforeEach
  void startProxies() throws IOException {
    proxy = new FaultProxy("http://" + registry.host());
    other = new FaultProxy("http://" + registry.host());
  }

  @AfterEach
  void stopProxies() throws IOException {
    proxy.close();
    other.close();
  }

  private static String basic(String pair) {
    return "Basic " + Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
  }

  private RegistryOptions.Builder options() {
    return RegistryOptions.builder()
        .credentialFiles()
        .plainHttp(proxy.host())
        .plainHttp(other.host());
  }

  private ImageRef ref() {
    return ImageRef.parse(proxy.host() + "/private/app:1");
  }

  private void pull(RegistryOptions.Builder options) {
    ImageStore store =
        new ImageStore(temp.resolve("store"), ImageLimits.DEFAULT, options.build(), pause -> {});
    assertEquals(ref(), store.resolve(ref()).ref());
  }

  private String fault(RegistryOptions.Builder options) {
    return String.valueOf(assertThrows(ImageException.class, () -> pull(options)).getMessage());
  }

  private static void assertContains(String text, String... parts) {
    for (String part : parts) {
      assertTrue(text.contains(part), "'" + part + "' in: " + text);
    }
  }

  /** It wants a token of its own service for all of its API. */
  private static void requireToken(FaultProxy server, String token, String parameters) {
    String challenge = "Bearer realm=\"http://" + server.host() + "/token\"" + parameters;
    server.fail(
        "/v2/",
        (request, upstream, client, out) ->
            (request.header("authorization").equals("Bearer " + token)
                    ? FaultProxy.pass()
                    : FaultProxy.status(401, CHALLENGE, challenge))
                .answer(request, upstream, client, out));
    server.fail("/token", FaultProxy.says(200, "{\"token\":\"" + token + "\"}"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"/manifests/", "/blobs/", "/v2/"})
  void aRegistryThatIsReferredToIsLoggedInToOnItsOwn(String part) {
    proxy.fail(part, FaultProxy.redirect("http://" + other.host()));
    requireToken(other, "token-of-b", "");

    pull(options().credentials(proxy.host(), ALICE));

    proxy.requests().forEach(request -> assertEquals("", request.header("authorization")));
    assertFalse(other.requests("/token").isEmpty());
    for (FaultProxy.Request request : other.requests("/token")) {
      assertEquals("", request.header("authorization"));
      assertContains(request.path(), "scope=repository%3Aprivate%2Fapp%3Apull");
    }
    for (FaultProxy.Request request : other.requests("/v2/")) {
      assertTrue(
          request.header("authorization").matches("|Bearer token-of-b"),
          request.header("authorization"));
    }
  }

  @Test
  void aRegistryThatIsReferredToIsLoggedInToWithWhatIsForIt() {
    requireToken(other, "token-of-b", "");
    proxy.fail(
        "/blobs/",
        (request, upstream, client, out) ->
            (request.header("authorization").equals("Bearer token-of-a")
                    ? FaultProxy.redirect("http://" + other.host())
                    : FaultProxy.status(401, CHALLENGE, "Bearer realm=\"/token\""))
                .answer(request, upstream, client, out));
    requireToken(proxy, "token-of-a", "");

    pull(options().credentials(proxy.host(), ALICE).credentials(other.host(), BOB));

    for (FaultProxy.Request request : proxy.requests()) {
      assertTrue(
          request.header("authorization").matches("|Bearer token-of-a|" + BASIC_ALICE),
          request.header("authorization"));
    }
    for (FaultProxy.Request request : other.requests("/v2/")) {
      assertTrue(
          request.header("authorization").matches("|Bearer token-of-b"),
          request.header("authorization"));
    }
    other.requests("/token").forEach(r -> assertEquals(BASIC_BOB, r.header("authorization")));
  }

  @Test
  void noPasswordFollowsARedirectHoweverItIsAskedFor() {
    proxy.fail("/blobs/", FaultProxy.redirect("http://" + other.host()));
    other.fail("", FaultProxy.status(401, CHALLENGE, "Basic realm=x"));

    assertContains(
        fault(options().credentials(proxy.host(), ALICE).credentials(other.host(), BOB)),
        proxy.host() + " redirects to http://" + other.host(),
        "no password follows a redirect");
    other.requests().forEach(request -> assertEquals("", request.header("authorization")));
  }

  @Test
  void aRegistryThatIsReferredToAndTakesNoTokenIsAskedTwice() {
    proxy.fail("/manifests/", FaultProxy.redirect("http://" + other.host()));
    other.fail("/token", FaultProxy.says(200, "{\"token\":\"another\"}"));
    requireToken(other, "never", "");

    assertContains(fault(options()), other.host() + " wants somebody to be logged in");
    assertEquals(2, other.requests("/v2/").size());
    assertEquals(1, other.requests("/token").size());
  }

  @ParameterizedTest
  @ValueSource(ints = {403, 404})
  void whatIsHiddenIsAskedForAgainByWhoIsLoggedIn(int status) {
    proxy.fail(
        "/private/",
        (request, upstream, client, out) ->
            (request.header("authorization").equals("Bearer token")
                    ? FaultProxy.pass()
                    : FaultProxy.status(status))
                .answer(request, upstream, client, out));
    requireToken(proxy, "token", "");

    assertContains(fault(options()), status == 404 ? "There is no image" : "answers 403");
    assertEquals(1, proxy.requests().size());

    pull(options().credentials(proxy.host(), ALICE));
    assertEquals(1, proxy.requests("/token").size());
    assertEquals(BASIC_ALICE, proxy.requests("/token").get(0).header("authorization"));
  }

  @Test
  void whatIsNotThereIsSaidToBeMissingThoughSomebodyIsLoggedIn() {
    proxy.fail("/manifests/", FaultProxy.status(404));

    assertContains(fault(options().credentials(proxy.host(), ALICE)), "There is no image");
    assertEquals(1, proxy.requests("/manifests/").size());
    assertEquals(2, proxy.requests().size());
    proxy.requests().forEach(request -> assertEquals("", request.header("authorization")));
  }

  @Test
  void aPasswordWorksForWhatIsHidden() {
    proxy.fail(
        "/private/",
        (request, upstream, client, out) ->
            (request.header("authorization").equals(BASIC_ALICE)
                    ? FaultProxy.pass()
                    : FaultProxy.status(404))
                .answer(request, upstream, client, out));
    proxy.fail("/v2/", FaultProxy.status(401, CHALLENGE, "Basic realm=x"));

    pull(options().credentials(proxy.host(), ALICE));
  }

  /** The body compressed on the way, as its headers say. */
  private static FaultProxy.Fault encoded(String encoding) {
    return (request, upstream, client, out) -> {
      FaultProxy.Reply reply = upstream.ask();
      byte[] packed = LayoutMaker.gzip(reply.body());
      Map<String, String> headers = new TreeMap<>(reply.headers());
      headers.put("content-encoding", encoding);
      headers.put("content-length", Integer.toString(packed.length));
      new FaultProxy.Reply(reply.status(), headers, packed).writeHead(out);
      out.write(packed);
    };
  }

  @ParameterizedTest
  @CsvSource({"/manifests/, gzip", "/manifests/, X-GZip", "/blobs/, gzip"})
  void whatIsCompressedOnTheWayIsUnpacked(String part, String encoding) {
    proxy.fail(part, encoded(encoding));

    pull(options());
    proxy.requests().forEach(r -> assertEquals("identity", r.header("accept-encoding")));
  }

  @Test
  void whatIsCompressedInAnotherWayIsSaid() {
    proxy.fail("/manifests/", encoded("br"));

    assertContains(fault(options()), "http://" + proxy.host(), "encoding that was not asked for");
  }

  @Test
  void whatIsSaidToBeCompressedAndIsNotEnds() {
    proxy.fail(
        "/manifests/",
        (request, upstream, client, out) ->
            FaultProxy.says(200, "no gzip", "content-encoding", "gzip")
                .answer(request, upstream, client, out));

    assertContains(fault(options()), "gave no gzip, but said so");
  }

  @Test
  void aLayerThatIsSaidToBeCompressedBecauseItIsIsTakenAsItIs() {
    proxy.fail(
        "/blobs/",
        (request, upstream, client, out) -> {
          FaultProxy.Reply reply = upstream.ask();
          Map<String, String> headers = new TreeMap<>(reply.headers());
          headers.put("content-encoding", "gzip");
          new FaultProxy.Reply(reply.status(), headers, reply.body()).writeHead(out);
          out.write(reply.body());
        });

    pull(options());
  }

  @Test
  void aSignedAddressBehindTheSameServerGetsNoOtherAuthorization() {
    proxy.fail(
        "/signed/",
        (request, upstream, client, out) ->
            (request.header("authorization").isEmpty()
                    ? FaultProxy.redirect("http://" + registry.host() + "/v2")
                    : FaultProxy.status(400))
                .answer(
                    new FaultProxy.Request(
                        request.method(),
                        request.path().replaceFirst("/signed(.*)[?].*", "$1"),
                        request.headers(),
                        request.body()),
                    upstream,
                    client,
                    out));
    proxy.fail(
        "/blobs/",
        (request, upstream, client, out) ->
            (request.header("authorization").isEmpty()
                    ? FaultProxy.status(401, CHALLENGE, "Bearer realm=\"/token\"")
                    : FaultProxy.status(
                        307,
                        "location",
                        "/signed" + request.path().substring(3) + "?signature={a|b}"))
                .answer(request, upstream, client, out));
    requireToken(proxy, "token", "");

    pull(options().plainHttp(registry.host()));
    assertFalse(proxy.requests("/signed/").isEmpty());
    proxy
        .requests("/signed/")
        .forEach(request -> assertContains(request.path(), "?signature=%7Ba%7Cb%7D"));
  }

  @Test
  void tenRedirectsAreFollowed() {
    proxy.fail("/manifests/1", 10, FaultProxy.redirect("http://" + proxy.host()));

    pull(options());
  }

  @Test
  void aRedirectToAHostWithAnImpossibleNameNamesIt() {
    proxy.fail("/blobs/", FaultProxy.status(307, "location", "https://my_cdn.example/x?secret=1"));

    String fault = fault(options());
    assertContains(fault, "redirects to the host 'my_cdn.example', which is no name");
    assertFalse(fault.contains("secret"), fault);
  }

  @Test
  void aRedirectToNowhereIsSaid() {
    proxy.fail("/blobs/", FaultProxy.status(307));

    assertContains(fault(options()), "redirects without saying where to");
  }

  @Test
  void aTokenMayBeCreated() {
    proxy.fail("/token", FaultProxy.says(201, "{\"token\":\"token\"}"));
    requireToken(proxy, "token", "");

    pull(options());
  }

  /** As a constant of Amazon's public registry has it, and as Quay leaves it out. */
  @ParameterizedTest
  @CsvSource({"aws, aws", "'', repository%3Aprivate%2Fapp%3Apull"})
  void aScopeIsAskedForAsTheChallengeHasIt(String scope, String expected) {
    requireToken(proxy, "token", scope.isEmpty() ? "" : ",scope=\"" + scope + "\"");

    pull(options());
    assertContains(proxy.requests("/token").get(0).path(), "scope=" + expected);
  }

  @Test
  void aPasswordIsTakenWhereATokenWasNotEnough() {
    // Harbor's answer to a token with too few rights.
    proxy.fail(
        "/private/",
        (request, upstream, client, out) -> {
          String authorization = request.header("authorization");
          (authorization.equals(BASIC_ALICE)
                  ? FaultProxy.pass()
                  : authorization.equals("Bearer token")
                      ? FaultProxy.status(401, CHALLENGE, "Basic realm=\"harbor\"")
                      : FaultProxy.status(401, CHALLENGE, "Bearer realm=\"/token\""))
              .answer(request, upstream, client, out);
        });
    proxy.fail("/token", FaultProxy.says(200, "{\"token\":\"token\"}"));

    pull(options().credentials(proxy.host(), ALICE));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "text/plain", "text/html; charset=utf-8", "application/json"})
  void aManifestOfAnotherTypeIsTakenForWhatItIs(String type) {
    proxy.fail(
        "/manifests/",
        (request, upstream, client, out) -> {
          FaultProxy.Reply reply = upstream.ask();
          Map<String, String> headers = new TreeMap<>(reply.headers());
          headers.remove("content-type");
          if (!type.isEmpty()) {
            headers.put("content-type", type);
          }
          new FaultProxy.Reply(reply.status(), headers, reply.body()).writeHead(out);
          out.write(reply.body());
        });

    pull(options());
  }

  @Test
  void aPageInPlaceOfAManifestIsSaid() {
    proxy.fail("/manifests/", FaultProxy.says(200, "<html><title>Forbidden</title></html>"));

    assertContains(fault(options()), proxy.host(), "is no JSON");
  }
}
