// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClasspathRoots;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.FilterResult;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.EngineFilter;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.PostDiscoveryFilter;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.reporting.legacy.xml.LegacyXmlReportGeneratingListener;

/**
 * Finds and runs tests by tag and name, as JUnit's console does, whose start takes the lab half a
 * minute (.ci/boot-tests).
 */
final class TestLauncher {
  private TestLauncher() {}

  /**
   * Lists classes, or runs tests; fails with exit code 1 where one fails, or none was found.
   *
   * @param arguments "list" and a directory of classes, or "run" and a directory for reports; a
   *     tag; a regular expression for the whole of package.Class#method; for "run", the classes
   */
  public static void main(String... arguments) {
    Path directory = Path.of(arguments[1]);
    boolean list = arguments[0].equals("list");
    List<DiscoverySelector> selectors =
        list
            ? List.copyOf(selectClasspathRoots(Set.of(directory)))
            : List.copyOf(
                List.of(arguments).subList(4, arguments.length).stream()
                    .map(DiscoverySelectors::selectClass)
                    .toList());
    LauncherDiscoveryRequest request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(selectors)
            .filters(
                EngineFilter.includeEngines("junit-jupiter"),
                TagFilter.includeTags(arguments[2]),
                methods(Pattern.compile(arguments[3])))
            .build();
    if (list) {
      Classes classes = new Classes();
      classes.of(LauncherFactory.create().discover(request)).forEach(System.out::println);
      return;
    }
    Feed feed = new Feed();
    PrintWriter errors = new PrintWriter(System.err, true);
    LauncherFactory.create()
        .execute(request, feed, new LegacyXmlReportGeneratingListener(directory, errors));
    System.out.printf("%d passed, %d failed%n", feed.passed, feed.failed);
    // Threads that a test left must not keep the lab.
    System.exit(feed.failed == 0 && feed.passed > 0 ? 0 : 1);
  }

  private static PostDiscoveryFilter methods(Pattern pattern) {
    return test ->
        FilterResult.includedIf(
            test.getSource()
                .map(source -> !(source instanceof MethodSource method) || matches(pattern, method))
                .orElse(true));
  }

  private static boolean matches(Pattern pattern, MethodSource method) {
    return pattern.matcher(method.getClassName() + "#" + method.getMethodName()).matches();
  }

  /** The classes of a plan that have tests, outermost ones only. */
  private static final class Classes {
    private final Set<String> names = new TreeSet<>();

    Set<String> of(TestPlan plan) {
      plan.getRoots().forEach(root -> add(plan, root));
      return names;
    }

    private void add(TestPlan plan, TestIdentifier test) {
      TestSource source = test.getSource().orElse(null);
      if (source instanceof MethodSource method) {
        names.add(method.getClassName().split("\\$", 2)[0]);
      }
      plan.getChildren(test).forEach(child -> add(plan, child));
    }
  }

  /** Says which test runs, and how each ended. */
  private static final class Feed implements TestExecutionListener {
    private final List<String> path = new ArrayList<>();
    private long started;
    private int passed;
    private int failed;

    @Override
    public void executionStarted(TestIdentifier test) {
      path.add(test.getDisplayName());
      started = System.nanoTime();
      if (test.isTest()) {
        // Without the engine.
        System.out.print(String.join(" > ", path.subList(1, path.size())) + " ... ");
        System.out.flush();
      }
    }

    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
      System.out.printf("%s skipped: %s%n", test.getDisplayName(), reason);
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
      path.remove(path.size() - 1);
      if (result.getStatus() == TestExecutionResult.Status.ABORTED) {
        System.out.printf(
            "skipped: %s%n", result.getThrowable().map(Throwable::getMessage).orElse(""));
        return;
      }
      boolean successful = result.getStatus() == TestExecutionResult.Status.SUCCESSFUL;
      if (test.isTest()) {
        double seconds = (System.nanoTime() - started) / 1e9;
        System.out.printf(Locale.ROOT, "%s, %.1f s%n", result.getStatus(), seconds);
        passed += successful ? 1 : 0;
      } else if (!successful) {
        System.out.printf("%s: %s%n", test.getDisplayName(), result.getStatus());
      }
      if (!successful) {
        failed++;
        result.getThrowable().ifPresent(failure -> failure.printStackTrace(System.out));
      }
    }
  }
}
