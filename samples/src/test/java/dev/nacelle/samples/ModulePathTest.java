// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.module.Configuration;
import java.lang.module.ModuleFinder;
import java.lang.module.ResolvedModule;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.spi.ToolProvider;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What a user's module gets who requires Nacelle and puts its jars on the module path. */
class ModulePathTest {
  private static final Set<String> NOT_NEEDED =
      Set.of(
          // Annotations, which nothing looks for at run time.
          "com.google.errorprone.annotations",
          "jsr305",
          "not found",
          // For service configurations and HTTP proxies, which a channel to a guest has none of.
          "com.google.gson",
          "io.netty.handler.proxy");

  private final Path[] path =
      Stream.of(System.getProperty("java.class.path").split(File.pathSeparator))
          .filter(entry -> !entry.endsWith("test-classes"))
          .map(Path::of)
          .toArray(Path[]::new);

  private final Configuration resolved =
      Configuration.resolveAndBind(
          ModuleFinder.of(path),
          List.of(ModuleLayer.boot().configuration()),
          ModuleFinder.of(),
          Set.of("dev.nacelle.samples"));

  @Test
  void findsTheHypervisors() {
    assertTrue(resolved.findModule("dev.nacelle.kvm").isPresent());
    assertTrue(resolved.findModule("dev.nacelle.hyperv").isPresent());
  }

  /** An automatic module cannot say what it requires, so that Nacelle must say it. */
  @Test
  void resolvesWhatAutomaticModulesNeed() {
    Set<String> there =
        Stream.concat(resolved.modules().stream(), systemModules())
            .map(ResolvedModule::name)
            .collect(Collectors.toSet());
    Set<String> missing = new TreeSet<>();
    for (ResolvedModule module : resolved.modules()) {
      if (module.reference().descriptor().isAutomatic() && module.name().startsWith("io.grpc")) {
        missing.addAll(neededBy(Path.of(module.reference().location().orElseThrow())));
      }
    }
    assertTrue(missing.contains("io.netty.codec.http2"), "jdeps has found nothing");
    missing.removeAll(there);
    missing.removeAll(NOT_NEEDED);
    assertEquals(Set.of(), missing);
  }

  private Stream<ResolvedModule> systemModules() {
    return Configuration.empty()
        .resolve(
            ModuleFinder.ofSystem(),
            ModuleFinder.of(),
            resolved.modules().stream()
                .flatMap(module -> module.reference().descriptor().requires().stream())
                .map(java.lang.module.ModuleDescriptor.Requires::name)
                .filter(name -> ModuleFinder.ofSystem().find(name).isPresent())
                .toList())
        .modules()
        .stream();
  }

  /** The modules that jdeps finds a jar to use. */
  private Set<String> neededBy(Path jar) {
    StringWriter output = new StringWriter();
    int status =
        ToolProvider.findFirst("jdeps")
            .orElseThrow()
            .run(
                new PrintWriter(output),
                new PrintWriter(output),
                "--multi-release",
                "17",
                "--ignore-missing-deps",
                "-s",
                "--module-path",
                Stream.of(path).map(Path::toString).collect(Collectors.joining(File.pathSeparator)),
                jar.toString());
    assertEquals(0, status, output::toString);
    return Pattern.compile(
            "^" + Pattern.quote(jar.getFileName().toString()) + " -> (.*)$", Pattern.MULTILINE)
        .matcher(output.toString())
        .results()
        .map(found -> found.group(1))
        .collect(Collectors.toSet());
  }
}
