/* Makes a report's figures charts: hover, zoom, legends, and the runs behind a point. Without it the page shows
   the same figures as still pictures. `Plotly` is the library embedded before this. */
(() => {
"use strict";
const chosen = new Set();  // names of methods, or of learning rates, that stand out; empty: all do
const charts = [];  // {figure, divs, panels, colours}
const dark = matchMedia("(prefers-color-scheme: dark)");
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const element = (tag, name, text) => Object.assign(document.createElement(tag), {className: name, textContent: text ?? ""});

/* A colour that can be seen on the page: in the dark the darkest are lightened. */
function visible(colour) {
  if (!dark.matches) return colour;
  const parts = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
  const light = (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) / 255;
  if (light > 0.32) return colour;
  return "#" + parts.map(p => Math.round(p + (255 - p) * 0.45).toString(16).padStart(2, "0")).join("");
}

function opacity(series, panel, chart) {
  const wanted = chart.names.some(name => chosen.has(name));
  if (!chosen.size || !series.name || series.isReference || !wanted) return series.opacity;
  return chosen.has(series.name) ? series.opacity : 0.08 * series.opacity;
}

function trace(series, panel, chart) {
  const own = chart.colours[series.name];
  const colour = visible(series.muted && chosen.has(series.name) && own ? own : series.colour);
  const common = {x: series.x, y: series.y, opacity: opacity(series, panel, chart), showlegend: false, name: series.name};
  if (series.kind === "band") {
    return {...common, mode: "lines", line: {width: 0}, fill: "toself", fillcolor: colour, hoverinfo: "skip"};
  }
  const texts = series.texts.length ? series.texts.map(text => text.replaceAll("\n", "<br>"))
    : series.y.map((y, at) => `${escaped(panel.x.label)} ${short(series.x[at])}<br>${short(y)}`);
  const hollow = series.marker.endsWith("-open") && series.marker !== "x-thin-open";
  const drawn = {...common, mode: series.kind === "line" ? (series.marker ? "lines+markers" : "lines") : "markers",
    line: {color: colour, width: series.width, dash: series.dash},
    marker: hollow ? {symbol: series.marker.replace("-open", ""), size: series.size * 1.2, color: css("--paper"), line: {color: colour, width: 2}}
      : {symbol: series.marker || "circle", size: Math.max(series.size * 1.3, 5), color: colour,
         line: {color: colour, width: series.marker === "x-thin-open" ? 2 : 0}},
    customdata: series.runs, text: texts.map(text => (series.name ? `<b>${escaped(series.name)}</b><br>` : "") + text),
    hovertemplate: "%{text}<extra></extra>"};
  return series.isReference ? {...drawn, mode: "lines", hovertemplate: `${escaped(series.name)}: ${short(series.y[0])}<extra></extra>`} : drawn;
}
const escaped = text => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const short = value => value === null ? "–" : Number(value.toPrecision(3)).toString();

function axis(of, extra) {
  const log = of.scale === "log";
  const ticks = Object.entries(of.ticks);
  return {title: {text: escaped(of.label).replaceAll("\n", "<br>"), standoff: 6, font: {size: 12}}, type: log ? "log" : "linear",
    range: log ? of.range.map(Math.log10) : of.range, gridcolor: css("--line"), zeroline: false, linecolor: css("--soft"),
    ...(log ? {dtick: of.range[1] / of.range[0] > 20 ? 1 : undefined, exponentformat: "power"} : {nticks: 6}), tickfont: {size: 11}, automargin: true,
    ...(ticks.length ? {tickvals: ticks.map(([at]) => Number(at)), ticktext: ticks.map(([, text]) => text)} : {}), ...extra};
}

function layout(panel, chart) {
  return {height: panel.wide ? 380 : chart.panels.length > 4 ? 220 : 280, margin: {l: 8, r: 8, t: panel.title ? 30 : 10, b: 8},
    title: panel.title ? {text: escaped(panel.title).replaceAll("\n", "<br>"), font: {size: 13}, y: 0.98, yanchor: "top"} : undefined,
    xaxis: axis(panel.x), yaxis: axis(panel.y), hovermode: "closest", dragmode: "zoom",
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: {color: css("--text"), family: "system-ui, sans-serif"},
    modebar: {bgcolor: "transparent", color: css("--soft"), activecolor: css("--accent")},
    hoverlabel: {bgcolor: css("--paper"), font: {color: css("--text")}, align: "left"}};
}

const config = panel => ({responsive: true, displaylogo: false, displayModeBar: panel.wide ? "hover" : false,
  plotlyServerURL: "",  // a click must send nothing anywhere
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "toImage", "sendChartToCloud"]});

/* Draws a chart's panels, at first or again. */
function draw(chart) {
  chart.panels.forEach((panel, at) => {
    const div = chart.divs[at];
    const about = chart.names.some(name => chosen.has(name)) || !chart.panels.some(p => chosen.has(p.title));
    div.classList.toggle("dimmed", chosen.size > 0 && !about && !chosen.has(panel.title));
    const zoomed = div.layout && div.layout.xaxis && div._fullLayout ? {x: div._fullLayout.xaxis.range.slice(), y: div._fullLayout.yaxis.range.slice()} : null;
    const wanted = layout(panel, chart);
    if (zoomed) { wanted.xaxis.range = zoomed.x; wanted.yaxis.range = zoomed.y; }
    Plotly.react(div, panel.series.map(series => trace(series, panel, chart)), wanted, config(panel));
    if (!div.dataset.live) {
      div.dataset.live = "yes";
      div.on("plotly_click", event => {
        const ids = event.points.flatMap(point => point.customdata ?? []);
        if (ids.length) tell(ids);
      });
    }
  });
}

function start(figure) {
  const panels = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
  const chart = {figure, panels, divs: [], colours: {}, names: []};
  const references = {};
  for (const panel of panels) for (const series of panel.series) {
    series.isReference = series.kind === "line" && !series.texts.length && !series.marker && new Set(series.y).size === 1 && series.x.length === 2;
    if (!series.name) continue;
    if (series.isReference) references[series.name] ??= series;
    else if (!chart.names.includes(series.name) && series.x.some(x => x !== null)) chart.names.push(series.name);
    if (!series.muted && !series.isReference && series.colour !== "#ffffff") chart.colours[series.name] ??= series.colour;
  }
  const legend = element("div", "legend");
  for (const name of chart.names) legend.append(key(name, chart.colours[name] ?? "#999999"));
  for (const name in references) {
    const item = element("span", "reference", name);
    item.prepend(Object.assign(element("i", references[name].dash)));
    legend.append(item);
  }
  const grid = element("div", "panels");
  for (const panel of panels) {
    const div = element("div", panel.wide ? "panel wide" : "panel");
    chart.divs.push(div);
    grid.append(div);
  }
  figure.querySelector("img").after(legend, grid);
  figure.classList.add("live");
  charts.push(chart);
  draw(chart);
  mark();
}

function key(name, colour) {
  const button = element("button", "key", name);
  button.type = "button";
  button.dataset.name = name;
  button.dataset.colour = colour;
  button.title = "click: let it stand out, or no longer";
  button.prepend(Object.assign(element("i"), {style: `background: ${visible(colour)}`}));
  return button;
}

/* Shows which names are chosen wherever they can be clicked. */
function mark() {
  for (const item of document.querySelectorAll("[data-name]")) {
    const on = chosen.has(item.dataset.name);
    if (item.matches("button, [role=button]")) item.setAttribute("aria-pressed", on);
    item.closest("tr")?.classList.toggle("chosen", on);
  }
}

function toggle(name) {
  if (!chosen.delete(name)) chosen.add(name);
  charts.forEach(draw);
  mark();
}

/* The settings of runs and the commands that repeat them, read off the table of all runs. */
function tell(ids) {
  const box = document.getElementById("details");
  const list = element("div", "told");
  for (const id of new Set(ids)) {
    const row = document.getElementById(`run-${id}`);
    const item = element("div", "told-run");
    const study = document.body.dataset.study;
    const command = row ? row.querySelector("code.command").textContent : `ether-study rerun ${study} ${id}`;
    const what = row ? [...row.cells].slice(0, -2).map((cell, at) => `${row.closest("table").tHead.rows[0].cells[at].textContent.trim()} ${cell.textContent.trim()}`) : [id];
    item.append(element("p", "", what.filter(text => !text.endsWith(" ")).join(" · ")));
    const line = element("p", "");
    const copy = element("button", "copy", "copy");
    copy.type = "button";
    copy.addEventListener("click", () => navigator.clipboard?.writeText(command).then(() => { copy.textContent = "copied"; }));
    line.append(element("code", "", command), " ", copy);
    item.append(line);
    list.append(item);
  }
  box.querySelector(".told")?.remove();
  box.querySelector("h2").textContent = ids.length === 1 ? "The run behind this point" : `The ${new Set(ids).size} runs behind this point`;
  box.append(list);
  box.hidden = false;
}

function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button")?.addEventListener("click", () => {
    const descending = heading.getAttribute("aria-sort") !== "descending";
    headings.forEach(h => h.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = row => row.cells[column].dataset.value;
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const difference = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return descending ? -difference : difference;
    };
    const body = table.tBodies[0];
    [...body.rows].sort(order).forEach(row => body.append(row));
  }));
}

/* Opens what is folded around the place that the address names. */
function unfold() {
  const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!place) return;
  for (let at = place; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  place.scrollIntoView();
}

for (const name of document.querySelectorAll("td [data-name]")) {
  name.setAttribute("role", "button");
  name.tabIndex = 0;
  name.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); name.click(); } });
}
document.addEventListener("click", event => {
  const name = event.target.closest("[data-name]");
  if (name) toggle(name.dataset.name);
});
document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelector("#details .close").addEventListener("click", () => { document.getElementById("details").hidden = true; });
addEventListener("keydown", event => { if (event.key === "Escape") document.getElementById("details").hidden = true; });
addEventListener("hashchange", unfold);
dark.addEventListener("change", () => {
  for (const item of document.querySelectorAll("button.key")) item.querySelector("i").style.background = visible(item.dataset.colour);
  charts.forEach(draw);
});
const waiting = [...document.querySelectorAll("figure.chart")];
(function next() {  // one at a time, so that the page can be read meanwhile
  if (!waiting.length) return;
  start(waiting.shift());
  setTimeout(next, 10);
})();
document.documentElement.classList.add("explorable");
unfold();
})();
