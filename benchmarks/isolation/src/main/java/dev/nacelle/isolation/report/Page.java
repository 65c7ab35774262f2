// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import dev.nacelle.isolation.results.Results;
import dev.nacelle.isolation.results.Results.Better;
import dev.nacelle.isolation.results.Results.Clock;
import dev.nacelle.isolation.results.Results.Figure;
import dev.nacelle.isolation.results.Results.Peer;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Runs as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere.
 * Each run has a part of its own, so that instructions and time never meet in one table.
 */
final class Page {
  private static final String STYLE =
      """
      *{box-sizing:border-box}
      html{color-scheme:light dark}
      body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;
        font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
      main{max-width:1240px;margin:0 auto;padding:28px 20px 60px}
      h1{font-size:28px;margin:0 0 4px}
      h2{font-size:22px;margin:44px 0 12px;overflow-wrap:anywhere}
      h3{font-size:18px;margin:34px 0 10px}
      h4{font-size:16px;margin:0}
      p{margin:6px 0}
      a{color:inherit}
      .soft{color:var(--soft)}
      .card{background:var(--card);border:1px solid var(--line);border-radius:10px;
        padding:16px 18px;margin:0 0 16px}
      .note{background:var(--warn);border:1px solid var(--warnline);border-radius:10px;
        padding:10px 16px;margin:0 0 16px}
      .badge{float:right;border:1px solid var(--line);border-radius:20px;padding:1px 10px;
        color:var(--soft);font-size:13px}
      dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:0}
      dt{color:var(--soft)}
      dd{margin:0;overflow-wrap:anywhere}
      .meaning{margin:10px 0;font-size:14px}
      .pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:12px}
      figure{margin:0;overflow-x:auto}
      figcaption{color:var(--soft);font-size:13px;margin:4px 0}
      svg{display:block;width:100%;height:auto;min-width:480px}
      .wide{overflow-x:auto}
      table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
      th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
      th{font-weight:600;color:var(--soft)}
      tbody th{color:var(--ink);font-weight:500}
      th:first-child,td.why{text-align:left}
      td.why{color:var(--soft);white-space:normal;font-style:italic}
      .overview th{white-space:normal}
      .overview thead th{vertical-align:bottom}
      .overview svg{min-width:760px}
      .overview th,.overview td{padding:5px 7px}
      .overview small{display:block;margin:0}
      td small{color:var(--soft);margin-left:5px;font-size:13px}
      tr:last-child>*{border-bottom:0}
      code{font:13px ui-monospace,'DejaVu Sans Mono',monospace}
      .swatch{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:8px}
      @media print{.card{break-inside:avoid}}
      """;

  private final Markup html = new Markup();

  private Page() {}

  /** The page. */
  static String of(List<Run> runs) {
    Page page = new Page();
    page.head(runs);
    for (int i = 0; i < runs.size(); i++) {
      page.run(runs.get(i), i, runs.size() > 1);
    }
    page.method();
    return page.html.raw("</main>\n</body>\n</html>\n").toString();
  }

  /** With a capital letter first. */
  static String capital(String text) {
    int end = text.isEmpty() ? 0 : text.offsetByCodePoints(0, 1);
    return text.substring(0, end).toUpperCase(Locale.ROOT) + text.substring(end);
  }

  private void head(List<Run> runs) {
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Not even what results would smuggle in is loaded or run.
    html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
    html.raw("style-src 'unsafe-inline'\">\n");
    html.raw("<title>What isolation costs</title>\n<style>\n");
    html.raw(Palette.style()).raw(STYLE);
    for (int i = 0; i < Palette.COUNT; i++) {
      html.raw(".swatch.c%d{background:var(--c%d)}", i, i);
    }
    html.raw("\n</style>\n</head>\n<body>\n<main>\n<h1>What isolation costs</h1>\n");
    html.raw(
        "<p class=\"soft\">The same image, unmodified, as a bare process, in containers and in ");
    html.raw(
        "machines of its own. Medians, their spread, and how many times the bare process's cost ");
    html.raw("they are.</p>\n");
    if (runs.size() > 1) {
      html.raw("<ul>\n");
      for (int i = 0; i < runs.size(); i++) {
        html.raw("<li><a href=\"#run%d\">", i).text(heading(runs.get(i))).raw("</a></li>\n");
      }
      html.raw("</ul>\n");
    }
  }

  private static String heading(Run run) {
    return run.results().image().reference()
        + ", "
        + (run.inLab() ? "in the lab" : "on hardware")
        + " ("
        + run.name()
        + ")";
  }

  private void run(Run run, int number, boolean named) {
    Results results = run.results();
    html.raw("<section id=\"run%d\">\n", number);
    if (named) {
      html.element("h2", heading(run)).raw("\n");
    }
    facts(run);
    if (results.shortened()) {
      html.raw(
          "<p class=\"note\"><b>Short form.</b> Each figure was taken only to see that it can ");
      html.raw("be; the numbers are not for comparing.</p>\n");
    }
    if (results.clock() == Clock.INSTRUCTIONS) {
      html.raw("<p class=\"note\"><b>Taken in the lab.</b> It is an emulated machine whose clock ");
      html.raw(
          "counts instructions, each for 1 ns. A cache miss costs nothing there, and a switch ");
      html.raw("between guest and host one instruction, so exits look cheaper than they are, and ");
      html.raw("system calls dearer. Only ratios within this run mean anything.</p>\n");
    } else if (run.inLab()) {
      html.raw(
          "<p class=\"note\"><b>Taken in the lab.</b> It is an emulated machine, whose times say ");
      html.raw("little of hardware's.</p>\n");
    }
    String costs = new Pictures(run).costs();
    if (!costs.isEmpty()) {
      html.raw("<div class=\"card wide overview\">\n").raw(costs).raw("</div>\n");
    } else if (run.bare().isEmpty()) {
      html.raw("<p class=\"note\">The bare process was not measured in this run, so there are no ");
      html.raw("ratios.</p>\n");
    }
    overview(run);
    String group = null;
    for (Figure figure : results.figures()) {
      if (!figure.group().equals(group)) {
        group = figure.group();
        html.element("h3", capital(group)).raw("\n");
      }
      figure(run, figure);
    }
    html.raw("</section>\n");
  }

  private void facts(Run run) {
    Results results = run.results();
    html.raw("<div class=\"card\">\n<dl>\n");
    fact("Image", results.image().reference() + " (" + results.image().digest() + ")");
    fact("Command", String.join(" ", results.command()));
    fact("Taken", results.taken() + ", in " + run.name());
    fact("Where", run.place());
    fact("Clock", run.clock());
    if (results.rounds() != null) {
      fact("Rounds", String.valueOf(results.rounds()));
    }
    fact("Nacelle", results.nacelle());
    Results.Host host = results.host();
    fact(
        "Host",
        "Linux "
            + host.kernel()
            + ", "
            + host.cpu()
            + ", "
            + host.processors()
            + (host.processors() == 1 ? " processor" : " processors")
            + ", JDK "
            + host.jdk()
            + ", load "
            + Quantity.digits(host.load())
            + " at the start");
    html.raw("</dl>\n</div>\n<div class=\"card wide\">\n<table>\n<thead><tr><th>Isolation</th>");
    html.raw("<th style=\"text-align:left\">Name</th><th style=\"text-align:left\">Version</th>");
    html.raw("</tr></thead>\n<tbody>\n");
    for (Peer peer : results.isolations()) {
      html.raw("<tr>");
      peer(run, peer);
      html.raw("<td style=\"text-align:left\">").element("code", peer.name());
      html.raw("</td><td style=\"text-align:left\">").text(peer.version()).raw("</td></tr>\n");
    }
    html.raw("</tbody>\n</table>\n</div>\n");
  }

  private void fact(String what, String value) {
    html.element("dt", what).element("dd", value).raw("\n");
  }

  private void peer(Run run, Peer peer) {
    html.raw("<th scope=\"row\" style=\"text-align:left\"><span class=\"swatch ");
    html.raw(Palette.colour(run.results().isolations(), peer)).raw("\"></span>");
    html.text(peer.label()).raw("</th>");
  }

  /** All medians at once. */
  private void overview(Run run) {
    List<Peer> peers = run.results().isolations();
    html.raw("<div class=\"card wide overview\">\n<table>\n<thead><tr><th>Median, and cost</th>");
    for (Peer peer : peers) {
      html.raw("<th scope=\"col\">").text(peer.label()).raw("</th>");
    }
    html.raw("</tr></thead>\n<tbody>\n");
    for (int i = 0; i < run.results().figures().size(); i++) {
      Figure figure = run.results().figures().get(i);
      html.raw("<tr><th scope=\"row\">").text(figure.title()).raw("</th>");
      for (Peer peer : peers) {
        Statistics statistics = run.entry(figure, peer).statistics();
        if (statistics == null) {
          html.raw("<td class=\"soft\" title=\"").text("" + run.entry(figure, peer).none());
          html.raw("\">–</td>");
        } else {
          html.raw("<td>").text(Quantity.of(statistics.median(), figure.unit()));
          OptionalDouble cost = run.cost(figure, peer);
          if (cost.isPresent() && !peer.name().equals(Run.BARE)) {
            html.raw("<small>%s</small>", Quantity.ratio(cost.getAsDouble()));
          }
          html.raw("</td>");
        }
      }
      html.raw("</tr>\n");
    }
    html.raw("</tbody>\n</table>\n</div>\n");
  }

  private void figure(Run run, Figure figure) {
    Pictures pictures = new Pictures(run);
    html.raw("<article class=\"card\">\n<span class=\"badge\">");
    html.raw(figure.better() == Better.LOWER ? "lower is better" : "higher is better");
    html.raw("</span>").element("h4", figure.title());
    html.raw("\n<dl class=\"meaning\">\n");
    fact("From", figure.from());
    fact("To", figure.to());
    Optional.ofNullable(figure.blind())
        .filter(blind -> run.inLab())
        .ifPresent(blind -> fact("Not shown by the lab", blind));
    html.raw("</dl>\n<div class=\"pair\">\n<figure>");
    html.raw("<figcaption>Medians, quartiles, and times the bare process's cost</figcaption>");
    html.raw(pictures.bars(figure)).raw("</figure>\n<figure><figcaption>Samples; box: quartiles, ");
    html.raw("mark: median</figcaption>").raw(pictures.distribution(figure));
    html.raw("</figure>\n</div>\n<div class=\"wide\">\n<table>\n<thead><tr><th>Isolation</th>");
    html.raw("<th>Median</th><th>Quartiles</th><th>Least</th><th>Greatest</th><th>99 in 100</th>");
    html.raw("<th>n</th><th>Warm-ups</th><th>Cost</th></tr></thead>\n<tbody>\n");
    for (Peer peer : run.results().isolations()) {
      html.raw("<tr>");
      peer(run, peer);
      row(run, figure, peer);
      html.raw("</tr>\n");
      String note = run.entry(figure, peer).note();
      if (note != null) {
        html.raw("<tr><td class=\"why\" colspan=\"9\">").text(peer.label() + ": " + note);
        html.raw("</td></tr>\n");
      }
    }
    html.raw("</tbody>\n</table>\n</div>\n</article>\n");
  }

  private void row(Run run, Figure figure, Peer peer) {
    Run.Entry entry = run.entry(figure, peer);
    Statistics statistics = entry.statistics();
    if (statistics == null) {
      html.raw("<td class=\"why\" colspan=\"8\">").text("" + entry.none()).raw("</td>");
      return;
    }
    cell(figure, statistics.median());
    html.raw("<td>").text(Quantity.of(statistics.quantile(0.25), figure.unit())).raw(" – ");
    html.text(Quantity.of(statistics.quantile(0.75), figure.unit())).raw("</td>");
    cell(figure, statistics.min());
    cell(figure, statistics.max());
    statistics
        .tail()
        .ifPresentOrElse(value -> cell(figure, value), () -> html.raw("<td class=\"soft\">–</td>"));
    html.raw("<td>%d</td><td>%d</td>", statistics.count(), entry.warmup());
    OptionalDouble cost = run.cost(figure, peer);
    html.raw("<td>").text(cost.isPresent() ? Quantity.ratio(cost.getAsDouble()) : "–").raw("</td>");
  }

  private void cell(Figure figure, double value) {
    html.raw("<td>").text(Quantity.of(value, figure.unit())).raw("</td>");
  }

  private void method() {
    html.raw("<h3>How to read it</h3>\n<div class=\"card\">\n");
    html.raw("<p>In each round of a run one isolation had its turn after the other. With more ");
    html.raw(
        "than one round they took turns in another order each time; with one, each figure of ");
    html.raw("an isolation was taken in one go. What was called to warm up does not count; each ");
    html.raw(
        "table tells how often that was. A quantile is between the two samples nearest to it, in proportion. The ");
    html.raw("greatest of 99 in 100 is told from %d samples on.</p>\n", Statistics.ENOUGH_FOR_TAIL);
    html.raw(
        "<p>Cost is against the bare process of the same run: the ratio of the medians where ");
    html.raw(
        "lower is better, its inverse where higher is, so that ×2 is always twice as dear. A ");
    html.raw("scale is logarithmic where it says so; bars begin at zero on others.</p>\n");
    html.raw(
        "<p>Points are at most 80 of the samples, evenly by rank, the least and the greatest ");
    html.raw("among them; every sample is in the file that is named above.</p>\n</div>\n");
  }
}
