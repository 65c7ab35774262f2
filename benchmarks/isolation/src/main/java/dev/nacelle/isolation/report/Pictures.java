// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import dev.nacelle.isolation.results.Results.Figure;
import dev.nacelle.isolation.results.Results.Peer;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.DoubleFunction;
import org.jspecify.annotations.Nullable;

/** A run in SVG. Colours are those of {@link Palette#style}. */
final class Pictures {
  private static final int ROW = 26;
  private static final int NAMES = 204;
  private static final int LONGEST_NAME = 30;
  private static final int FIGURES = 262;
  private static final int LONGEST_FIGURE = 40;
  private static final int MOST_POINTS = 80;

  private final Run run;
  private final List<Peer> peers;

  Pictures(Run run) {
    this.run = run;
    this.peers = run.results().isolations();
  }

  /** A bar for each isolation's median, the quartiles around it, and its cost. */
  String bars(Figure figure) {
    double least = Double.POSITIVE_INFINITY;
    double greatest = 0;
    for (Peer peer : peers) {
      Statistics statistics = run.entry(figure, peer).statistics();
      if (statistics != null) {
        least = Math.min(least, statistics.median());
        greatest = Math.max(greatest, statistics.quantile(0.75));
      }
    }
    Axis axis = Axis.ofBars(least, greatest, NAMES, 250);
    Markup svg = start(600, peers.size() * ROW + 40, figure.title() + ": medians");
    grid(svg, axis, peers.size() * ROW, value -> Quantity.of(value, figure.unit()));
    for (int i = 0; i < peers.size(); i++) {
      Peer peer = peers.get(i);
      double y = i * ROW;
      Statistics statistics = name(svg, figure, peer, y);
      if (statistics == null) {
        continue;
      }
      double end = axis.at(statistics.median());
      svg.raw("<g>");
      svg.element("title", peer.label() + ": " + said(figure, statistics));
      svg.raw(
          "<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"15\" rx=\"2\"/>",
          Palette.colour(peers, peer), NAMES, y + 5.5, Math.max(1, end - NAMES));
      double first = axis.at(statistics.quantile(0.25));
      double third = axis.at(statistics.quantile(0.75));
      if (third - first > 1.5) {
        svg.raw("<path class=\"ink\" d=\"M%.1f %.1fv8m0-4H%.1fm0-4v8\"/>", first, y + 9, third);
      }
      svg.raw("<text x=\"%.1f\" y=\"%.1f\">", Math.max(end, third) + 6, y + 17.5);
      svg.text(Quantity.of(statistics.median(), figure.unit()));
      OptionalDouble cost = run.cost(figure, peer);
      if (cost.isPresent() && !peer.name().equals(Run.BARE)) {
        svg.raw("<tspan class=\"soft\" dx=\"6\">%s</tspan>", Quantity.ratio(cost.getAsDouble()));
      }
      svg.raw("</text></g>\n");
    }
    return svg.raw("</svg>\n").toString();
  }

  /** Samples of each isolation as points, above the box of the quartiles and the whole range. */
  String distribution(Figure figure) {
    double least = Double.POSITIVE_INFINITY;
    double greatest = Double.NEGATIVE_INFINITY;
    for (Peer peer : peers) {
      Statistics statistics = run.entry(figure, peer).statistics();
      if (statistics != null) {
        least = Math.min(least, statistics.min());
        greatest = Math.max(greatest, statistics.max());
      }
    }
    Markup svg = start(600, peers.size() * ROW + 40, figure.title() + ": all samples");
    if (least > greatest) {
      least = 0;
      greatest = 1;
    }
    Axis axis = Axis.ofPoints(least, greatest, NAMES, 380);
    grid(svg, axis, peers.size() * ROW, value -> Quantity.of(value, figure.unit()));
    for (int i = 0; i < peers.size(); i++) {
      Peer peer = peers.get(i);
      double y = i * ROW + 13;
      Statistics statistics = name(svg, figure, peer, y - 13);
      if (statistics == null) {
        continue;
      }
      String colour = Palette.colour(peers, peer);
      double first = axis.at(statistics.quantile(0.25));
      double third = axis.at(statistics.quantile(0.75));
      svg.raw("<g>");
      svg.element("title", peer.label() + ": " + said(figure, statistics));
      svg.raw(
          "<path class=\"%s\" d=\"M%.1f %.1fH%.1f\"/>",
          colour, axis.at(statistics.min()), y, axis.at(statistics.max()));
      svg.raw(
          "<rect class=\"%s\" fill-opacity=\".25\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"14\" rx=\"2\"/>",
          colour, first, y - 7, Math.max(1, third - first));
      double[] points = statistics.some(MOST_POINTS);
      for (int n = 0; n < points.length; n++) {
        // Up and down by turns, so that equal ones are seen to be several.
        svg.raw(
            "<circle class=\"%s\" stroke=\"none\" fill-opacity=\".6\" cx=\"%.1f\" cy=\"%.1f\" r=\"1.8\"/>",
            colour, axis.at(points[n]), y + (n * 7 % 11) - 5);
      }
      svg.raw("<path class=\"ink\" d=\"M%.1f %.1fv18\"/>", axis.at(statistics.median()), y - 9);
      svg.raw("</g>\n");
    }
    return svg.raw("</svg>\n").toString();
  }

  /** The costs of all figures at once, against the bare process; empty where none are known. */
  String costs() {
    return costs(false);
  }

  /** Likewise, as a file of its own. */
  String costsAlone() {
    return costs(true);
  }

  private String costs(boolean alone) {
    List<Figure> figures = new ArrayList<>();
    double least = 1;
    double greatest = 1;
    for (Figure figure : run.results().figures()) {
      boolean known = false;
      for (Peer peer : peers) {
        OptionalDouble cost = run.cost(figure, peer);
        if (cost.isPresent() && !peer.name().equals(Run.BARE)) {
          known = true;
          least = Math.min(least, cost.getAsDouble());
          greatest = Math.max(greatest, cost.getAsDouble());
        }
      }
      if (known) {
        figures.add(figure);
      }
    }
    if (figures.isEmpty()) {
      return "";
    }
    Markup legend = new Markup();
    double legendX = 20;
    double legendY = 60;
    for (Peer peer : run.measured()) {
      String label = Markup.cut(peer.label(), LONGEST_NAME);
      double width = 22 + label.length() * 7.2 + 12;
      if (legendX + width > 880) {
        legendX = 20;
        legendY += 20;
      }
      Palette.mark(legend, peers, peer, legendX + 5, legendY, "");
      legend.raw("<text x=\"%.1f\" y=\"%.1f\">", legendX + 16, legendY + 4).text(label);
      legend.raw("</text>\n");
      legendX += width;
    }
    double top = legendY + 26;
    int groups = 0;
    String group = "";
    for (Figure figure : figures) {
      groups += figure.group().equals(group) ? 0 : 1;
      group = figure.group();
    }
    double height = figures.size() * ROW + groups * 22;
    String title = "What isolation costs, against a bare process";
    Markup svg = start(900, top + height + 44, title);
    if (alone) {
      svg.raw("<style>").raw(Palette.style()).raw("</style>\n");
      svg.raw("<rect width=\"100%\" height=\"100%\" rx=\"8\" style=\"fill:var(--card)\"/>\n");
    }
    svg.raw("<text class=\"head\" x=\"20\" y=\"26\" style=\"font-size:16px\">").text(title);
    svg.raw("</text>\n<text class=\"soft\" x=\"20\" y=\"43\">");
    svg.text(
        "×2 is twice the time or memory, or half the rate; further left is better. Taken on "
            + (run.inLab() ? "an emulated machine: its clock counts instructions." : "hardware."));
    svg.raw("</text>\n").raw(legend.toString());
    Axis axis = Axis.ofRatios(least, greatest, FIGURES + 14, 594);
    svg.raw("<g transform=\"translate(0 %.1f)\">\n", top);
    grid(svg, axis, height, Quantity::ratio);
    svg.raw("<path class=\"bare\" d=\"M%.1f 0v%.1f\"/>", axis.at(1), height);
    double y = 0;
    group = "";
    for (Figure figure : figures) {
      if (!figure.group().equals(group)) {
        group = figure.group();
        svg.raw("<text class=\"soft head\" x=\"20\" y=\"%.1f\">", y + 16);
        svg.text(Markup.cut(Page.capital(group), LONGEST_FIGURE)).raw("</text>\n");
        y += 22;
      }
      svg.raw("<text x=\"20\" y=\"%.1f\">", y + 17);
      svg.text(Markup.cut(figure.title(), LONGEST_FIGURE)).raw("</text>\n");
      row(svg, figure, axis, y + ROW / 2.0);
      y += ROW;
    }
    return svg.raw("</g></svg>\n").toString();
  }

  private void row(Markup svg, Figure figure, Axis axis, double y) {
    svg.raw("<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", axis.left(), y, axis.right());
    // A little above each other, so that those of equal cost are all seen.
    double step = peers.size() > 1 ? 10.0 / (peers.size() - 1) : 0;
    for (int i = 0; i < peers.size(); i++) {
      Peer peer = peers.get(i);
      OptionalDouble cost = run.cost(figure, peer);
      if (cost.isPresent()) {
        String title = peer.label() + ": " + run.cell(figure, peer).orElse("");
        Palette.mark(svg, peers, peer, axis.at(cost.getAsDouble()), y - 5 + i * step, title);
      }
    }
  }

  private static Markup start(double width, double height, String title) {
    Markup svg = new Markup();
    svg.raw(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" role=\"img\"",
        width, height);
    svg.raw(" aria-label=\"").text(title).raw("\">\n");
    return svg;
  }

  private static void grid(Markup svg, Axis axis, double height, DoubleFunction<String> format) {
    for (double tick : axis.ticks()) {
      double x = axis.at(tick);
      svg.raw("<path class=\"grid\" d=\"M%.1f 0v%.1f\"/>", x, height);
      svg.raw("<text class=\"soft\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">", x, height + 17);
      svg.text(format.apply(tick)).raw("</text>\n");
    }
    if (axis.logarithmic()) {
      svg.raw(
          "<text class=\"soft\" text-anchor=\"end\" x=\"%.1f\" y=\"%.1f\"",
          axis.right(), height + 34);
      svg.raw(" style=\"font-style:italic\">logarithmic scale</text>\n");
    }
  }

  /** An isolation's name at the left; returns its samples, or writes why there are none. */
  private @Nullable Statistics name(Markup svg, Figure figure, Peer peer, double y) {
    svg.raw("<text text-anchor=\"end\" x=\"%d\" y=\"%.1f\">", NAMES - 8, y + 17.5);
    svg.text(Markup.cut(peer.label(), LONGEST_NAME)).raw("</text>\n");
    Run.Entry entry = run.entry(figure, peer);
    if (entry.statistics() == null) {
      svg.raw("<text class=\"soft\" x=\"%d\" y=\"%.1f\"", NAMES + 6, y + 17.5);
      svg.raw(" style=\"font-style:italic\">");
      svg.text(Markup.cut("" + entry.none(), 56)).raw("</text>\n");
    }
    return entry.statistics();
  }

  private static String said(Figure figure, Statistics statistics) {
    return "median "
        + Quantity.of(statistics.median(), figure.unit())
        + ", quartiles "
        + Quantity.of(statistics.quantile(0.25), figure.unit())
        + " and "
        + Quantity.of(statistics.quantile(0.75), figure.unit())
        + ", "
        + Quantity.of(statistics.min(), figure.unit())
        + " to "
        + Quantity.of(statistics.max(), figure.unit())
        + ", n = "
        + statistics.count();
  }
}
