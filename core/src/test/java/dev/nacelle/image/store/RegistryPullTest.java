// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static dev.nacelle.image.testing.LayoutMaker.OCI;
import static dev.nacelle.image.testing.LayoutMaker.with;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.FetchListener;
import dev.nacelle.FetchProgress.State;
import dev.nacelle.ImageException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.LayerProgress;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.oci.ImageResolver;
import dev.nacelle.image.origin.OciLayout;
import dev.nacelle.image.registry.Pause;
import dev.nacelle.image.testing.FaultProxy;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.PrivateCa;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.ListenerFailures;
import dev.nacelle.internal.OtherProcess;
import dev.nacelle.internal.ThreadBaseline;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Pulls from a real registry, through a proxy that breaks things. */
class RegistryPullTest {
  private static final String AMD64 = "linux/amd64";
  private static final int LAYERS = 4;

  @TempDir static Path shared;
  private static LayoutMaker layout;
  private static RegistryServer registry;
  private static byte[] bigBlob;
  private static String bigDigest;
  private static String bigDiffId;
  private static String attestationDigest;

  @TempDir Path temp;
  private final ThreadBaseline threads = ThreadBaseline.now();
  private FaultProxy proxy;
  private final List<Duration> pauses = Collections.synchronizedList(new ArrayList<>());

  /** Time passes between attempts, and nowhere else. */
  private final Pause pause =
      new Pause() {
        private final AtomicLong now = new AtomicLong();

        @Override
        public long nanoTime() {
          return now.get();
        }

        @Override
        public void sleep(Duration duration) {
          pauses.add(duration);
          now.addAndGet(duration.toNanos());
        }
      };

  private final List<LayerProgress> progress = new CopyOnWriteArrayList<>();

  @BeforeAll
  static void fillRegistry() throws IOException {
    layout = new LayoutMaker(shared.resolve("layout"));
    byte[] noise = new byte[1_500_000];
    new Random(1).nextBytes(noise);
    byte[] bigTar =
        new TarMaker().file("noise", new String(noise, StandardCharsets.ISO_8859_1)).finish();
    bigBlob = LayoutMaker.gzip(bigTar);
    Layer big = layout.layer(LayoutMaker.GZIP, bigBlob, bigTar);
    bigDigest = LayoutMaker.digest(bigBlob);
    bigDiffId = big.diffId();
    Layer small = layout.gzipLayer(tar("small"));
    layout.tag(layout.image(AMD64, small, big), "app");
    layout.tag(layout.image(AMD64, small, big, layout.gzipLayer(tar("top"))), "larger");
    Layer[] many = new Layer[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
      many[i] = layout.gzipLayer(tar("layer" + i));
    }
    layout.tag(layout.image(AMD64, many), "many");
    layout.tag(layout.image(AMD64, big, layout.gzipLayer(tar("other"))), "sharing");
    layout.tag(
        layout.image(AMD64, layout.layer(LayoutMaker.TAR, tar("plain"), tar("plain"))), "plain");
    layout.tag(layout.image(AMD64, zstdLayer(tar("zstd"))), "zstd");
    String amd = with(layout.image(AMD64, layout.gzipLayer(tar("amd64"))), platform(AMD64));
    String arm =
        with(layout.image("linux/arm64", layout.gzipLayer(tar("arm64"))), platform("linux/arm64"));
    layout.tag(layout.index(arm, amd), "multi");
    String nested = layout.index(with(layout.index(arm, amd), platform(AMD64)));
    layout.tag(nested, "nested");

    String attestation =
        layout.image(
            "unknown/unknown",
            layout.layer(
                "application/vnd.in-toto+json", "{}".getBytes(StandardCharsets.UTF_8), tar("")));
    attestationDigest = attestation.replaceAll(".*(sha256:[0-9a-f]+).*", "$1");
    layout.tag(layout.index(with(attestation, platform("unknown/unknown")), amd), "attested");

    registry = RegistryServer.open(shared.resolve("registry"));
    for (String tag :
        List.of("app", "larger", "many", "sharing", "plain", "zstd", "multi", "attested")) {
      registry.push(
          "oci:" + layout.directory() + ":" + tag,
          "test/image:" + tag,
          "--all",
          "--preserve-digests");
    }
    registry.put(
        "test/image",
        "nested",
        LayoutMaker.INDEX,
        Files.readAllBytes(layout.blobFile(nested.replaceAll(".*(sha256:[0-9a-f]+).*", "$1"))));
    registry.push("oci:" + layout.directory() + ":app", "test/image:docker", "--format", "v2s2");
    registry.push(
        "oci:" + layout.directory() + ":multi", "test/image:list", "--all", "--format", "v2s2");
  }

  private static Layer zstdLayer(byte[] tar) throws IOException {
    Path file = shared.resolve("layer.tar");
    Files.write(file, tar);
    Tool.run(shared, "zstd", "-q", "-f", "layer.tar");
    return layout.layer(
        OCI + "layer.v1.tar+zstd", Files.readAllBytes(shared.resolve("layer.tar.zst")), tar);
  }

  private static String platform(String platform) {
    String[] parts = platform.split("/", -1);
    return "\"platform\":{\"os\":\"" + parts[0] + "\",\"architecture\":\"" + parts[1] + "\"}";
  }

  private static byte[] tar(String name) {
    return new TarMaker().file(name, name).finish();
  }

  @AfterAll
  static void stopRegistry() throws IOException {
    registry.close();
  }

  @BeforeEach
  void startProxy() throws IOException {
    proxy = new FaultProxy("http://" + registry.host());
  }

  @AfterEach
  void stopProxy() throws IOException, InterruptedException {
    proxy.close();
    threads.assertEnded();
  }

  private RegistryOptions.Builder options() {
    return RegistryOptions.builder().plainHttp(proxy.host()).credentialFiles();
  }

  private ImageStore store(RegistryOptions.Builder options) {
    return store(options, p -> progress.add((LayerProgress) p));
  }

  private ImageStore store(RegistryOptions.Builder options, FetchListener listener) {
    return new ImageStore(
        temp.resolve("store"), ImageLimits.DEFAULT, options.build(), listener, pause);
  }

  private ImageStore store() {
    return store(options());
  }

  private ImageRef ref(String tag) {
    return ImageRef.parse(proxy.host() + "/test/image:" + tag);
  }

  private String fault(ImageStore store, ImageRef ref) {
    ImageException fault = assertThrows(ImageException.class, () -> store.resolve(ref));
    return fault.reason() + ": " + fault.getMessage();
  }

  private static void assertContains(String text, String... parts) {
    for (String part : parts) {
      assertTrue(text.contains(part), "'" + part + "' in: " + text);
    }
  }

  private void assertSameAsLayout(String tag, ResolvedImage pulled) throws IOException {
    ResolvedImage local =
        new ImageStore(shared.resolve("local"))
            .resolve(ImageRef.parse("oci:" + layout.directory() + ":" + tag));
    assertEquals(-1, Files.mismatch(local.filesystem(), pulled.filesystem()));
    assertEquals(local.config(), pulled.config());
  }

  private List<State> states(String digest) {
    return progress.stream()
        .filter(p -> p.layer().toString().equals(digest))
        .map(LayerProgress::state)
        .distinct()
        .toList();
  }

  @ParameterizedTest
  @ValueSource(strings = {"app", "many", "plain", "zstd", "multi", "nested"})
  void anImageOfARegistryIsThatOfTheLayout(String tag) throws IOException {
    assertSameAsLayout(tag, store().resolve(ref(tag)));
  }

  @Test
  void aTagThatMovedIsFollowedOnlyWhereThePolicySaysSo() throws IOException {
    String plain = "oci:" + layout.directory() + ":plain";
    String zstd = "oci:" + layout.directory() + ":zstd";
    registry.push(plain, "test/image:moving", "--all", "--preserve-digests");
    Digest first = digest(PullPolicy.ALWAYS);
    registry.push(zstd, "test/image:moving", "--all", "--preserve-digests");

    assertEquals(first, digest(PullPolicy.MISSING));
    assertEquals(first, digest(PullPolicy.NEVER));
    Digest second = digest(PullPolicy.ALWAYS);
    assertEquals(store().resolve(ref("zstd")).digest(), second);
    assertEquals(second, digest(PullPolicy.MISSING));
    ImageException absent =
        assertThrows(
            ImageException.class,
            () -> store().lease(ref("app"), Platform.LINUX_AMD64, PullPolicy.NEVER));
    assertEquals(ImageException.Reason.NOT_PULLED, absent.reason());
    assertFalse(absent.isTransient());
    assertContains(absent.getMessage(), ref("app") + " is not in the store");
  }

  private Digest digest(PullPolicy policy) {
    try (ImageLease lease = store().lease(ref("moving"), Platform.LINUX_AMD64, policy)) {
      return lease.image().digest();
    }
  }

  @Test
  void dockersManifestsArePulledToo() throws IOException {
    assertSameAsLayout("app", store().resolve(ref("docker")));
  }

  @Test
  void dockersListsAreSearchedForThePlatform() throws IOException {
    List<String> types = new CopyOnWriteArrayList<>();
    proxy.fail(
        "/manifests/",
        (request, upstream, client, out) -> {
          FaultProxy.Reply reply = upstream.ask();
          types.add(reply.headers().get("content-type"));
          reply.writeHead(out);
          out.write(reply.body());
        });

    assertSameAsLayout("multi", store().resolve(ref("list")));

    String docker = "application/vnd.docker.distribution.manifest.";
    assertEquals(List.of(docker + "list.v2+json", docker + "v2+json"), types);
  }

  @Test
  void anAttestationIsLeftWhereItIs() throws IOException {
    assertSameAsLayout("attested", store().resolve(ref("attested")));

    assertEquals(List.of(), proxy.requests(attestationDigest));
  }

  @Test
  void anImageIsPulledByDigest() throws IOException {
    ResolvedImage tagged = store().resolve(ref("app"));

    ResolvedImage pinned = store().resolve(tagged.pinnedRef());

    assertEquals(tagged.digest(), pinned.digest());
    assertEquals(tagged.filesystem(), pinned.filesystem());
  }

  @Test
  void anotherPlatformIsSelectedFromAnIndex() throws IOException {
    Platform arm = Platform.of("linux", "arm64", "v8");

    assertEquals(arm, store().resolve(ref("multi"), arm).config().platform());
  }

  @Test
  void whatIsThereIsNotAskedForAgain() throws IOException {
    ResolvedImage first = store().resolve(ref("app"));
    int requests = proxy.requests().size();

    assertEquals(first, store().resolve(ref("app")));

    assertEquals(requests, proxy.requests().size());
  }

  @Test
  void imagesShareTheDownloadOfALayer() throws IOException {
    store().resolve(ref("app"));
    store().resolve(ref("sharing"));

    assertEquals(1, proxy.requests(bigDigest).size());
    assertEquals(
        List.of(State.WAITING, State.ALREADY_THERE),
        progress.stream()
            .filter(p -> p.image().equals(ref("sharing")) && p.layer().toString().equals(bigDigest))
            .map(LayerProgress::state)
            .toList());
  }

  @Test
  void theProgressOfEachLayerIsTold() throws IOException {
    store().resolve(ref("app"));

    List<LayerProgress> big =
        progress.stream().filter(p -> p.layer().toString().equals(bigDigest)).toList();
    assertEquals(List.of(State.WAITING, State.DOWNLOADING, State.DONE), states(bigDigest));
    assertTrue(big.size() > 4, () -> "steps: " + big);
    LayerProgress last = big.get(big.size() - 1);
    assertEquals(
        List.of(ref("app"), Digest.parse(bigDigest), 2, 2, State.DONE),
        List.of(last.image(), last.layer(), last.number(), last.layers(), last.state()));
    assertEquals(DataSize.bytes(bigBlob.length), last.done());
    assertEquals(Optional.of(DataSize.bytes(bigBlob.length)), last.total());
    assertEquals(
        "layer 2 of 2 of " + ref("app") + ": DONE, " + last.done() + " of " + last.done(),
        last.toString());
  }

  @Test
  void aBrokenDownloadGoesOnWhereItBroke() throws IOException {
    proxy.fail(bigDigest, 2, FaultProxy.cutAfter(400_000));

    assertSameAsLayout("app", store().resolve(ref("app")));

    List<String> ranges =
        proxy.requests(bigDigest).stream().map(request -> request.header("range")).toList();
    assertEquals(List.of("", "bytes=400000-", "bytes=800000-"), ranges);
    assertEquals(
        List.of(State.WAITING, State.DOWNLOADING, State.RETRYING, State.RESUMED, State.DONE),
        states(bigDigest));
  }

  @Test
  void whatAnEarlierProcessGotIsNotDownloadedAgain() throws IOException {
    proxy.fail(bigDigest, 1, FaultProxy.cutAfter(400_000));
    String message = fault(store(options().maxAttempts(1)), ref("app"));
    assertContains(message, "what was downloaded is kept");

    assertSameAsLayout("app", store().resolve(ref("app")));

    assertEquals("bytes=400000-", proxy.requests(bigDigest).get(1).header("range"));
    assertEquals(
        List.of(State.WAITING, State.DOWNLOADING, State.RESUMED, State.DONE), states(bigDigest));
  }

  @Test
  void whatAKilledProcessGotIsNotDownloadedAgain() throws Exception {
    proxy.fail(bigDigest, 1, FaultProxy.stallAfter(400_000));
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                PullingProcess.class.getName(),
                temp.resolve("store").toString(),
                ref("app").toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    String downloading = "layer 2 of 2 .*: " + State.DOWNLOADING + ", .*";
    try (BufferedReader said = process.inputReader()) {
      for (String line; !(line = String.valueOf(said.readLine())).matches(downloading); ) {
        assertNotEquals("null", line, "it ended by itself");
      }
    } finally {
      process.destroyForcibly().waitFor();
    }
    assertFalse(Files.exists(blobFile(bigDigest)));

    assertSameAsLayout("app", store().resolve(ref("app")));

    LayerProgress first =
        progress.stream()
            .filter(p -> p.layer().toString().equals(bigDigest) && p.state() != State.WAITING)
            .findFirst()
            .orElseThrow();
    assertEquals(State.RESUMED, first.state());
    assertTrue(first.done().bytes() >= 256 << 10, first::toString);
  }

  /** Pulls, and says so. */
  static final class PullingProcess {
    private PullingProcess() {}

    public static void main(String[] args) {
      ImageRef ref = ImageRef.parse(args[1]);
      RegistryOptions options =
          RegistryOptions.builder()
              .plainHttp(ref.registry().orElseThrow())
              .credentialFiles()
              .build();
      new ImageStore(Path.of(args[0]), ImageLimits.DEFAULT, options, System.out::println)
          .resolve(ref);
    }
  }

  @Test
  void aDamagedBeginningIsNotBelieved() throws IOException {
    proxy.fail(bigDigest, 1, FaultProxy.cutAfter(400_000));
    fault(store(options().maxAttempts(1)), ref("app"));
    Path partial = partial();
    byte[] bytes = Files.readAllBytes(partial);
    bytes[1000] ^= 1;
    Files.write(partial, bytes);

    assertSameAsLayout("app", store().resolve(ref("app")));
    assertEquals(
        List.of("", "bytes=400000-", ""),
        proxy.requests(bigDigest).stream().map(request -> request.header("range")).toList());
  }

  private Path partial() throws IOException {
    try (Stream<Path> files = Files.list(temp.resolve("store/blobs/sha256"))) {
      return files
          .filter(file -> file.toString().endsWith(bigDigest.substring(7) + ".partial"))
          .findFirst()
          .orElseThrow();
    }
  }

  @Test
  void aServerWithoutRangesIsAskedForAllOfIt() throws IOException {
    proxy.fail(bigDigest, 1, FaultProxy.cutAfter(400_000));
    proxy.fail(
        bigDigest,
        (request, upstream, client, out) -> {
          new FaultProxy.Reply(200, Map.of("content-length", "" + bigBlob.length), bigBlob)
              .writeHead(out);
          out.write(bigBlob);
        });

    assertSameAsLayout("app", store().resolve(ref("app")));
  }

  @Test
  void anotherRangeThanTheOneAskedForIsNotTaken() throws IOException {
    proxy.fail(bigDigest, 1, FaultProxy.cutAfter(400_000));
    proxy.fail(
        bigDigest, 1, FaultProxy.says(206, "xx", "content-range", "bytes 0-1/" + bigBlob.length));

    assertSameAsLayout("app", store().resolve(ref("app")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"200", "206"})
  void anotherLengthDoesNotCostWhatIsThere(String status) throws IOException {
    proxy.fail(bigDigest, 1, FaultProxy.cutAfter(400_000));
    String range = "bytes 400000-400001/1000000";
    proxy.fail(
        bigDigest, 1, FaultProxy.says(Integer.parseInt(status), "xx", "content-range", range));
    assertContains(fault(store(), ref("app")), "its descriptor says " + bigBlob.length);

    assertSameAsLayout("app", store().resolve(ref("app")));
    assertEquals("bytes=400000-", proxy.requests(bigDigest).get(2).header("range"));
  }

  @Test
  void aRangeThatIsNotThereIsAskedForAsAWhole() throws IOException {
    proxy.fail(bigDigest, 1, FaultProxy.cutAfter(400_000));
    proxy.fail(bigDigest, 1, FaultProxy.status(416));

    assertSameAsLayout("app", store().resolve(ref("app")));
    assertEquals("", proxy.requests(bigDigest).get(2).header("range"));
  }

  @Test
  void aBlobShorterThanItsDescriptorIsNotTaken() throws IOException {
    proxy.fail(bigDigest, FaultProxy.says(200, "short"));

    assertContains(
        fault(store(), ref("app")), "it has 5 bytes, its descriptor says " + bigBlob.length);
    assertFalse(Files.exists(blobFile(bigDigest)));
  }

  @ParameterizedTest
  @ValueSource(ints = {408, 425, 429, 500, 502, 503, 504, 520})
  void whatMayPassIsTriedAgain(int status) throws IOException {
    proxy.fail("/manifests/app", 1, FaultProxy.status(status));
    proxy.fail("/blobs/", 1, FaultProxy.status(status));

    assertSameAsLayout("app", store().resolve(ref("app")));
    assertEquals(2, pauses.size());
    for (Duration pause : pauses) {
      assertTrue(pause.toMillis() >= 250 && pause.toMillis() <= 500, () -> "pause " + pause);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {400, 403, 418, 501, 505})
  void whatWillNotPassIsNotTriedAgain(int status) {
    proxy.fail("/manifests/app", FaultProxy.status(status));

    assertContains(fault(store(), ref("app")), "answers " + status);
    assertEquals(1, proxy.requests().size());
  }

  @Test
  void theWaitThatARegistryAsksForIsKept() throws IOException {
    proxy.fail("/manifests/app", 1, FaultProxy.status(429, "retry-after", "7"));

    store().resolve(ref("app"));

    assertEquals(List.of(Duration.ofSeconds(7)), pauses);
  }

  @Test
  void theWaitMayBeADate() {
    String then =
        DateTimeFormatter.RFC_1123_DATE_TIME.format(
            ZonedDateTime.now(ZoneOffset.UTC).plusSeconds(100));
    proxy.fail("/manifests/app", 1, FaultProxy.status(503, "retry-after", then));
    proxy.fail("/manifests/app", 1, FaultProxy.status(503, "retry-after", "soon"));

    store().resolve(ref("app"));

    assertTrue(pauses.get(0).toSeconds() <= 100, pauses::toString);
    assertTrue(pauses.get(0).toSeconds() > 10, pauses::toString);
    assertTrue(pauses.get(1).toMillis() <= 1_000, pauses::toString);
  }

  @Test
  void aWaitTooLongEndsThePull() {
    proxy.fail("/manifests/app", FaultProxy.status(429, "retry-after", "86400"));

    assertContains(fault(store(), ref("app")), "RATE_LIMITED: ", "429", "86400 seconds");
    assertEquals(List.of(), pauses);
  }

  @Test
  void attemptsEndAndPausesGrow() {
    proxy.fail("/manifests/app", FaultProxy.status(503));

    assertContains(
        fault(store(), ref("app")), "NETWORK: ", "503", "in 5 attempts", "Check the network");
    assertEquals(4, pauses.size());
    assertTrue(pauses.get(3).toMillis() >= 2_000, pauses::toString);
    assertTrue(pauses.get(3).toMillis() <= 4_000, pauses::toString);
  }

  @Test
  void aStalledDownloadIsGivenUpAndGoesOn() throws IOException {
    proxy.fail(bigDigest, 1, FaultProxy.stallAfter(400_000));

    assertSameAsLayout(
        "app", store(options().stallTimeout(Duration.ofSeconds(3))).resolve(ref("app")));
    assertEquals("bytes=400000-", proxy.requests(bigDigest).get(1).header("range"));
  }

  @Test
  void aServerThatDoesNotAnswerIsGivenUp() {
    proxy.fail("", FaultProxy.silence());

    assertContains(
        fault(store(options().stallTimeout(Duration.ofMillis(50)).maxAttempts(2)), ref("app")),
        "NETWORK: ",
        "no answer",
        "in 2 attempts");
  }

  @Test
  void aPullEndsAtItsTimeout() {
    proxy.fail(bigDigest, FaultProxy.stallAfter(400_000));

    assertContains(
        fault(store(options().pullTimeout(Duration.ofSeconds(1))), ref("app")),
        "NETWORK: ",
        "timeout of PT1S");
  }

  @Test
  void aPauseBeyondTheTimeoutIsNotMade() {
    proxy.fail("/manifests/app", FaultProxy.status(429, "retry-after", "100"));

    assertContains(
        fault(store(options().pullTimeout(Duration.ofSeconds(60))), ref("app")), "timeout of PT1M");
    assertEquals(List.of(), pauses);
  }

  @Test
  void anInterruptEndsAPull() throws Exception {
    CountDownLatch stalled = new CountDownLatch(1);
    FaultProxy.Fault stall = FaultProxy.stallAfter(400_000);
    proxy.fail(
        bigDigest,
        (request, upstream, client, out) -> {
          stalled.countDown();
          stall.answer(request, upstream, client, out);
        });
    AtomicReference<String> message = new AtomicReference<>();
    AtomicReference<Boolean> interrupted = new AtomicReference<>();
    Thread thread =
        new Thread(
            () -> {
              message.set(
                  assertThrows(
                          InterruptedOperationException.class, () -> store().resolve(ref("app")))
                      .getMessage());
              interrupted.set(Thread.currentThread().isInterrupted());
            });
    thread.start();
    stalled.await();

    thread.interrupt();
    thread.join();

    assertContains(message.get(), "interrupted");
    assertEquals(true, interrupted.get());
  }

  @Test
  void layersArriveAtTheSameTimeButNotTooMany() throws IOException {
    CyclicBarrier barrier = new CyclicBarrier(2);
    AtomicInteger running = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    for (Digest layer : layers("many")) {
      proxy.fail(
          layer.toString(),
          1,
          (request, upstream, client, out) -> {
            most.accumulateAndGet(running.incrementAndGet(), Math::max);
            try {
              // Passes only while two are here.
              barrier.await();
            } catch (InterruptedException | BrokenBarrierException e) {
              throw new IOException(e);
            }
            FaultProxy.Reply reply = upstream.ask();
            running.decrementAndGet();
            reply.writeHead(out);
            out.write(reply.body());
          });
    }

    assertSameAsLayout("many", store(options().parallelDownloads(2)).resolve(ref("many")));
    assertEquals(2, most.get());
  }

  private List<Digest> layers(String tag) throws IOException {
    OciLayout source =
        OciLayout.open(
            ImageRef.parse("oci:" + layout.directory() + ":" + tag), ImageLimits.DEFAULT);
    ImageResolver resolver =
        new ImageResolver(source, Platform.LINUX_AMD64, ImageLimits.DEFAULT, tag);
    return resolver.resolve(source.roots(resolver)).layers().stream()
        .map(Descriptor::digest)
        .toList();
  }

  @Test
  void severalWhoWantTheSameImagePayOnce() {
    List<CompletableFuture<ResolvedImage>> all =
        Stream.generate(() -> CompletableFuture.supplyAsync(() -> store().resolve(ref("app"))))
            .limit(3)
            .toList();

    assertEquals(1, all.stream().map(CompletableFuture::join).distinct().count());
    assertEquals(1, proxy.requests(bigDigest).size());
  }

  private String overTls(FaultProxy.Fault fault, int times, @Nullable String expected)
      throws IOException {
    PrivateCa ca = new PrivateCa(temp.resolve("ca"));
    try (FaultProxy tls = new FaultProxy("http://" + registry.host(), ca)) {
      tls.fail(bigDigest, times, fault);
      ImageStore store =
          store(
              RegistryOptions.builder()
                  .credentialFiles()
                  .stallTimeout(Duration.ofSeconds(3))
                  .certificates(tls.host(), ca.certificate()));
      ImageRef ref = ImageRef.parse(tls.host() + "/test/image:app");
      if (expected == null) {
        assertSameAsLayout("app", store.resolve(ref));
      } else {
        assertContains(fault(store, ref), expected);
        assertFalse(Files.exists(blobFile(bigDigest)));
      }
      List<FaultProxy.Request> requests = tls.requests(bigDigest);
      return requests.get(requests.size() - 1).header("range");
    }
  }

  @ParameterizedTest
  @MethodSource
  void whatMayPassIsTriedAgainOverTls(FaultProxy.Fault fault, String range) throws IOException {
    assertEquals(range, overTls(fault, 1, null));
  }

  static List<Arguments> whatMayPassIsTriedAgainOverTls() {
    return List.of(
        Arguments.of(FaultProxy.cutAfter(400_000), "bytes=400000-"),
        Arguments.of(FaultProxy.stallAfter(400_000), "bytes=400000-"),
        Arguments.of(FaultProxy.silence(), ""),
        Arguments.of(FaultProxy.garbageChunks(), ""),
        Arguments.of(FaultProxy.status(429, "retry-after", "7"), ""),
        Arguments.of(FaultProxy.status(503), ""));
  }

  @ParameterizedTest
  @MethodSource
  void whatIsWrongIsNotTakenOverTls(FaultProxy.Fault fault, String expected) throws IOException {
    overTls(fault, Integer.MAX_VALUE, expected);
  }

  static List<Arguments> whatIsWrongIsNotTakenOverTls() {
    return List.of(
        Arguments.of(FaultProxy.wrongByte(), "has the digest"),
        Arguments.of(FaultProxy.longer(), "its descriptor says " + bigBlob.length),
        Arguments.of(FaultProxy.says(200, "short"), "it has 5 bytes"),
        Arguments.of(FaultProxy.endless(), "it has more than the " + bigBlob.length));
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason =
          "Linux mounts a small file system for it, and has its own words for a full one")
  @Test
  void aDiskThatIsFullIsSaidAndThePullGoesOnWhenItIsNot() throws IOException {
    Path disk = Files.createDirectories(temp.resolve("store"));
    Tool.run(temp, "mount", "-t", "tmpfs", "-o", "size=1m", "none", disk.toString());
    try {
      assertContains(
          fault(store(), ref("app")),
          "HOST_DISK: ",
          "No space left on device",
          disk.toString(),
          "has space");

      Tool.run(temp, "mount", "-o", "remount,size=64m", disk.toString());
      assertSameAsLayout("app", store().resolve(ref("app")));
      assertTrue(proxy.requests(bigDigest).get(1).header("range").startsWith("bytes="));
    } finally {
      Tool.run(temp, "umount", disk.toString());
    }
  }

  @Test
  void wrongBytesAreNotKept() {
    proxy.fail(bigDigest, FaultProxy.wrongByte());

    assertContains(fault(store(), ref("app")), "DAMAGED: ", bigDigest, "damaged", "has the digest");
    assertFalse(Files.exists(blobFile(bigDigest)));
    assertEquals(1, proxy.requests(bigDigest).size());
  }

  private Path blobFile(String digest) {
    return temp.resolve("store/blobs").resolve(digest.replace(':', '/'));
  }

  @Test
  void aBlobOfAnotherLengthIsNotTaken() {
    proxy.fail(bigDigest, FaultProxy.longer());

    assertContains(
        fault(store(), ref("app")),
        "it has " + (bigBlob.length + 1) + " bytes, its descriptor says");
  }

  @Test
  void anEndlessBlobEndsAtItsSize() {
    proxy.fail(bigDigest, FaultProxy.endless());

    assertContains(fault(store(), ref("app")), "it has more than the " + bigBlob.length + " bytes");
    assertFalse(Files.exists(blobFile(bigDigest)));
  }

  @Test
  void anEndlessManifestEndsAtTheLimit() {
    proxy.fail("/manifests/", FaultProxy.endless());

    assertContains(
        fault(store(), ref("app")), "TOO_LARGE: ", "more than the limit of 4194304 bytes");
  }

  @Test
  void garbageForChunksIsTriedAgain() throws IOException {
    proxy.fail("/manifests/app", 1, FaultProxy.garbageChunks());
    proxy.fail(bigDigest, 1, FaultProxy.garbageChunks());

    assertSameAsLayout("app", store().resolve(ref("app")));
  }

  @Test
  void aWrongManifestIsNotTaken() {
    proxy.fail("/manifests/app", FaultProxy.wrongByte());

    assertContains(fault(store(), ref("app")), "DAMAGED: ", "manifest of the tag 'app'", "damaged");
  }

  @Test
  void aManifestThatIsNoneIsRefused() {
    proxy.fail("/manifests/app", FaultProxy.says(200, "<html>", "content-type", "text/html"));

    assertContains(fault(store(), ref("app")), "is no JSON");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json"})
  void aManifestOfDockersFirstSchemaIsSaid(String type) {
    proxy.fail(
        "/manifests/app",
        FaultProxy.says(200, "{\"schemaVersion\":1,\"fsLayers\":[]}", "content-type", type));

    assertContains(
        fault(store(), ref("app")), "UNSUPPORTED: ", "of Docker's schema 1", "skopeo copy");
  }

  @Test
  void anUnknownTagIsSaid() {
    assertContains(
        fault(store(), ref("absent")),
        "NOT_FOUND: ",
        "no image of the tag 'absent' in test/image at " + proxy.host(),
        "Check the name and the tag");
  }

  @Test
  void aMissingBlobIsSaid() {
    proxy.fail(bigDigest, FaultProxy.status(404));

    assertContains(
        fault(store(), ref("app")),
        "NOT_FOUND: ",
        "blob " + bigDigest + " is missing",
        "Have the image pushed");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        OCI + "layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
      })
  void aForeignLayerThatTheRegistryLacksIsSaidToBeOne(String type) {
    serve("foreign", List.of(LayoutMaker.descriptor(type, bigDigest, bigBlob.length)));
    proxy.fail(bigDigest, FaultProxy.status(404));

    String fault = fault(store(), ref("foreign"));
    assertContains(fault, "blob " + bigDigest + " is missing", "foreign layer", "docker save");
    assertFalse(fault.contains("pushed"), fault);
  }

  @Test
  void whatARegistrySaysOfAnErrorIsShown() {
    proxy.fail(
        "/manifests/app",
        FaultProxy.says(
            403, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\\u001b[1m way\"}]}"));

    assertContains(
        fault(store(), ref("app")), "UNAUTHORIZED: ", "403: DENIED no?[1m way", "Log in");
  }

  @Test
  void aDamagedBlobInTheStoreIsGotAgain() throws IOException {
    store().resolve(ref("app"));
    byte[] damaged = bigBlob.clone();
    damaged[5_000] ^= 1;
    Files.write(blobFile(bigDigest), damaged);
    deleteFilesystems();

    assertSameAsLayout("app", store().resolve(ref("app")));
    assertEquals(2, proxy.requests(bigDigest).size());
    assertEquals(-1, Files.mismatch(layout.blobFile(bigDigest), blobFile(bigDigest)));
  }

  @Test
  void blobsOfTheStoreAreUnpackedAgainWithoutTheRegistry() throws IOException {
    store().resolve(ref("app"));
    deleteFilesystems();
    int requests = proxy.requests().size();

    try (ImageLease lease = store().lease(ref("app"), Platform.LINUX_AMD64, PullPolicy.NEVER)) {
      assertSameAsLayout("app", lease.image());
    }
    assertEquals(requests, proxy.requests().size());
  }

  @Test
  void aTruncatedBlobInTheStoreIsGotAgain() throws IOException {
    ResolvedImage image = store().resolve(ref("app"));
    Files.write(blobFile(image.digest().toString()), new byte[3]);

    assertEquals(image, store().resolve(ref("app")));
  }

  private void deleteFilesystems() throws IOException {
    try (Stream<Path> files = Files.list(temp.resolve("store/filesystems"))) {
      for (Path file : files.filter(f -> f.toString().endsWith(".ext4")).toList()) {
        Files.delete(file);
      }
    }
  }

  @Test
  void mirrorsComeFirstAndTheRegistryLast() throws IOException {
    try (FaultProxy dead = new FaultProxy("http://" + registry.host());
        FaultProxy empty = new FaultProxy("http://" + registry.host())) {
      dead.fail("", FaultProxy.status(503));
      empty.fail("", FaultProxy.status(404));
      RegistryOptions.Builder options =
          options()
              .plainHttp(dead.host())
              .plainHttp(empty.host())
              .mirrors(proxy.host(), dead.host(), empty.host());

      assertSameAsLayout("app", store(options).resolve(ref("app")));

      assertEquals("/v2/test/image/manifests/app", dead.requests().get(0).path());
      assertEquals("/v2/test/image/manifests/app", empty.requests().get(0).path());
      assertEquals(List.of(), pauses);
    }
  }

  @Test
  void aDeadMirrorIsAskedOnce() throws IOException {
    try (FaultProxy mirror = new FaultProxy("http://" + registry.host())) {
      mirror.fail("", FaultProxy.status(503));

      assertSameAsLayout("many", store(mirrored(mirror)).resolve(ref("many")));
      assertEquals(1, mirror.requests().size());
      assertEquals(List.of(), pauses);
    }
  }

  private RegistryOptions.Builder mirrored(FaultProxy mirror) {
    return options().plainHttp(mirror.host()).mirrors(proxy.host(), mirror.host());
  }

  @Test
  void aMirrorThatIsBackServesAgain() throws IOException {
    try (FaultProxy mirror = new FaultProxy("http://" + registry.host())) {
      mirror.fail("/manifests/app", 1, FaultProxy.status(503));
      proxy.fail("", FaultProxy.status(503));

      assertSameAsLayout("app", store(mirrored(mirror)).resolve(ref("app")));
      assertEquals(1, mirror.requests(bigDigest).size());
    }
  }

  @Test
  void aMirrorThatWantsToBeLeftAloneDoesNotHoldUpTheRegistry() throws IOException {
    try (FaultProxy mirror = new FaultProxy("http://" + registry.host())) {
      mirror.fail("", 1, FaultProxy.status(429, "retry-after", "100"));
      proxy.fail("/manifests/app", 1, FaultProxy.status(503));

      assertSameAsLayout("app", store(mirrored(mirror)).resolve(ref("app")));
      assertEquals(1, pauses.size());
      assertTrue(pauses.get(0).toMillis() <= 500, pauses::toString);
    }
  }

  @Test
  void aMirrorThatWantsToBeLeftAloneForADayDoesNotEndThePull() throws IOException {
    try (FaultProxy mirror = new FaultProxy("http://" + registry.host())) {
      mirror.fail("", FaultProxy.status(429, "retry-after", "86400"));
      proxy.fail("/manifests/app", 1, FaultProxy.status(503));

      assertSameAsLayout("app", store(mirrored(mirror)).resolve(ref("app")));
    }
  }

  @Test
  void whatTheRegistryDoesNotHaveIsNotLookedForAgain() throws IOException {
    try (FaultProxy mirror = new FaultProxy("http://" + registry.host())) {
      mirror.fail("", FaultProxy.status(503));

      assertContains(
          fault(store(mirrored(mirror)), ref("absent")),
          "no image of the tag 'absent'",
          "mirror: The manifest of the tag 'absent'");
      assertEquals(1, mirror.requests().size());
      assertEquals(List.of(), pauses);
    }
  }

  @Test
  void aMirrorMayKeepImagesBelowAPath() throws IOException {
    RegistryOptions.Builder options = options().mirrors("example.invalid", proxy.host() + "/test");

    ResolvedImage image = store(options).resolve(ImageRef.parse("example.invalid/image:app"));

    assertSameAsLayout("app", image);
    assertEquals("example.invalid/image:app", image.ref().toString());
  }

  @Test
  void whenAllFailEachIsNamed() {
    RegistryOptions.Builder options = options().mirrors("example.invalid", proxy.host() + "/none");

    assertContains(
        fault(store(options), ImageRef.parse("example.invalid/image:app")),
        "No host 'example.invalid' is known",
        "mirror: There is no image of the tag 'app' in none/image at " + proxy.host());
  }

  @Test
  void aRedirectIsFollowed() throws IOException {
    try (FaultProxy other = new FaultProxy("http://" + registry.host())) {
      proxy.fail("/blobs/", FaultProxy.redirect("http://" + other.host()));

      assertSameAsLayout("app", store(options().plainHttp(other.host())).resolve(ref("app")));
      assertFalse(other.requests().isEmpty());
    }
  }

  @Test
  void redirectsInACircleEnd() {
    proxy.fail("/manifests/", FaultProxy.redirect("http://" + proxy.host()));

    assertContains(fault(store(), ref("app")), "REGISTRY_FAULT: ", "redirects more than 10 times");
    assertEquals(11, proxy.requests().size());
  }

  @Test
  void aRedirectToWhereTlsIsMissingIsRefused() {
    proxy.fail("/blobs/", FaultProxy.redirect("http://localhost:1"));

    assertContains(
        fault(store(), ref("app")),
        "UNTRUSTED: ",
        "http://localhost:1 is without TLS, and that was not allowed");
  }

  @ParameterizedTest
  @ValueSource(strings = {"file:///etc/passwd", "ftp://localhost/x", "http://", ":::"})
  void aRedirectToNoWebAddressIsRefused(String location) {
    proxy.fail("/blobs/", FaultProxy.status(307, "location", location));

    fault(store(), ref("app"));
  }

  @Test
  void plainHttpHasToBeAllowed() {
    String message =
        fault(
            store(RegistryOptions.builder().credentialFiles()),
            ImageRef.parse(registry.host() + "/test/image:app"));

    assertContains(message, "https://" + registry.host() + " does not speak TLS", "plainHttp");
    assertEquals(List.of(), pauses);
  }

  @Test
  void aHostThatNobodyKnowsIsSaid() {
    assertContains(
        fault(store(), ImageRef.parse("registry.invalid/app")),
        "NETWORK: ",
        "No host 'registry.invalid' is known",
        "DNS");
    assertEquals(List.of(), pauses);
  }

  @Test
  void aConnectionThatIsRefusedIsSaid() {
    ImageRef ref = ImageRef.parse("localhost:1/app");

    assertContains(
        fault(store(options().plainHttp("localhost:1")), ref),
        "connection was refused",
        "in 5 attempts");
  }

  @Test
  void whatAListenerThrowsIsLoggedOnceAndThePullGoesOn() {
    FetchListener failing =
        p -> {
          throw new IllegalStateException("enough");
        };
    try (ListenerFailures failures = new ListenerFailures()) {
      assertEquals(ref("app"), store(options(), failing).resolve(ref("app")).ref());
      assertEquals(List.of("enough"), failures.messages());
    }
  }

  @ParameterizedTest
  @MethodSource
  void layersOfAbsurdSizeAreNotBegun(List<Long> sizes) {
    serve("absurd", ofSizes(sizes));

    assertContains(fault(store(), ref("absurd")), "larger than all of them may be", "64GiB");
    assertEquals(List.of(), proxy.requests(bigDigest));
  }

  static List<List<Long>> layersOfAbsurdSizeAreNotBegun() {
    return List.of(
        List.of(Long.MAX_VALUE),
        List.of(40L << 30, 40L << 30),
        List.of(1L, Long.MAX_VALUE, Long.MAX_VALUE));
  }

  private static List<String> ofSizes(List<Long> sizes) {
    return sizes.stream()
        .map(size -> LayoutMaker.descriptor(LayoutMaker.GZIP, bigDigest, size))
        .toList();
  }

  /** An image of nothing but the big layer, in the words of those descriptors. */
  private void serve(String tag, List<String> descriptors) {
    List<Layer> layers =
        descriptors.stream().map(descriptor -> new Layer(descriptor, bigDiffId)).toList();
    String config = LayoutMaker.config(AMD64, "{}", layers);
    byte[] bytes = config.getBytes(StandardCharsets.UTF_8);
    String digest = LayoutMaker.digest(bytes);
    String manifest =
        LayoutMaker.manifest(
            LayoutMaker.descriptor(LayoutMaker.CONFIG, digest, bytes.length), layers);
    proxy.fail(
        "/manifests/" + tag, FaultProxy.says(200, manifest, "content-type", LayoutMaker.MANIFEST));
    proxy.fail("/blobs/" + digest, FaultProxy.says(200, config));
  }

  @ParameterizedTest
  @MethodSource
  void aManifestThatLiesOfABlobDoesNotRemoveIt(List<Long> sizes) {
    ResolvedImage image = store().resolve(ref("app"));
    serve("lying", ofSizes(sizes));

    assertContains(
        fault(store(), ref("lying")),
        bigDigest + " has " + bigBlob.length + " bytes",
        "descriptor of it says 1");

    assertTrue(Files.exists(blobFile(bigDigest)));
    assertEquals(image, store().resolve(ref("app")));
  }

  /** Also where the first descriptor of it is right. */
  static List<List<Long>> aManifestThatLiesOfABlobDoesNotRemoveIt() {
    return List.of(List.of(1L), List.of((long) bigBlob.length, 1L));
  }

  @ParameterizedTest
  @ValueSource(strings = {"app", "multi"})
  void whatWasFoundCanBePinnedAndIsNotAskedForAgain(String tag) {
    ResolvedImage tagged = store().resolve(ref(tag));
    int requests = proxy.requests().size();

    for (PullPolicy policy : PullPolicy.values()) {
      try (ImageLease pinned = store().lease(tagged.pinnedRef(), Platform.LINUX_AMD64, policy)) {
        assertEquals(tagged.digest(), pinned.image().digest());
        assertEquals(tagged.filesystem(), pinned.image().filesystem());
      }
    }
    assertEquals(requests, proxy.requests().size());
  }

  @Test
  void aDamagedManifestOfAPinnedImageIsGotAgain() throws IOException {
    ResolvedImage tagged = store().resolve(ref("app"));
    Files.writeString(blobFile(tagged.digest().toString()), "{}");

    assertEquals(tagged.digest(), store().resolve(tagged.pinnedRef()).digest());
  }

  @ParameterizedTest
  @ValueSource(strings = {"app", "sharing"})
  void aPullEndsAtItsTimeoutAlsoWhereAnotherProcessDownloadsTheSame(String tag) throws Exception {
    CountDownLatch stalled = new CountDownLatch(1);
    FaultProxy.Fault stall = FaultProxy.stallAfter(400_000);
    proxy.fail(
        bigDigest,
        (request, upstream, client, out) -> {
          stalled.countDown();
          stall.answer(request, upstream, client, out);
        });
    try (OtherProcess other =
        OtherProcess.start(PullingProcess.class, temp.resolve("store"), ref("app"))) {
      stalled.await();

      assertContains(
          fault(store(options().pullTimeout(Duration.ofSeconds(2))), ref(tag)), "timeout of PT2S");
    }
    assertEquals(1, proxy.requests(bigDigest).size());
  }

  @Test
  void downloadsForABaseThatIsDamagedAreNotInTheWay() throws IOException {
    String top = layers("larger").get(2).toString();
    Path base = store().resolve(ref("app")).filesystem();
    Tool.script(
        base.getParent(), "chmod u+w %1$s; truncate -s 1M %1$s".formatted(base.getFileName()));
    progress.clear();
    FaultProxy.Fault stall = FaultProxy.stallAfter(10);
    proxy.fail(
        top,
        (request, upstream, client, out) -> {
          // Only without the base the lowest layer is wanted.
          if (progress.stream().noneMatch(p -> p.number() == 1 && p.state() == State.WAITING)) {
            stall.answer(request, upstream, client, out);
          } else {
            FaultProxy.Reply reply = upstream.ask();
            reply.writeHead(out);
            out.write(reply.body());
          }
        });

    store(options().parallelDownloads(1)).resolve(ref("larger"));

    assertFalse(states(top).contains(State.RETRYING), () -> "" + progress);
  }

  @Test
  void layersOfABaseAreToldToBeThere() {
    store().resolve(ref("app"));
    progress.clear();

    store().resolve(ref("larger"));

    assertEquals(
        List.of(
            "1 of 3 ALREADY_THERE",
            "2 of 3 ALREADY_THERE",
            "3 of 3 WAITING",
            "3 of 3 DOWNLOADING",
            "3 of 3 DONE"),
        progress.stream().map(p -> p.number() + " of " + p.layers() + " " + p.state()).toList());
    for (LayerProgress layer : progress.subList(0, 2)) {
      assertEquals(layer.total(), Optional.of(layer.done()));
    }
  }

  @Test
  void allLayersAreToldBeforeOneArrives() throws IOException {
    store(options().parallelDownloads(1)).resolve(ref("many"));

    List<LayerProgress> first = progress.subList(0, LAYERS);
    assertEquals(layers("many"), first.stream().map(LayerProgress::layer).toList());
    for (LayerProgress layer : first) {
      assertEquals(State.WAITING, layer.state());
      assertEquals(DataSize.bytes(0), layer.done());
      long size = Files.size(layout.blobFile(layer.layer().toString()));
      assertEquals(Optional.of(DataSize.bytes(size)), layer.total());
    }
  }

  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "symbolic links need a privilege on Windows")
  @Test
  void aStoreMayBeALinkToADirectory() throws IOException {
    Files.createDirectories(temp.resolve("disk"));
    Files.createSymbolicLink(temp.resolve("store"), Path.of("disk"));

    assertSameAsLayout("app", store().resolve(ref("app")));
  }
}
