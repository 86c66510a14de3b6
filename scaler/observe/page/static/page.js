// What the pages do beyond HTML: look again when the server says so, the two toggles, and the charts.
"use strict";

// Live updates: an event asks #live to fetch itself again, with the query that it shows.
const liveToggle = document.getElementById("live-toggle");
let events = null;

function showLive(text, pressed) {
  liveToggle.textContent = text;
  liveToggle.setAttribute("aria-pressed", String(pressed));
}

function listen() {
  events = new EventSource("/events");
  events.addEventListener("open", () => showLive("Live", true));
  events.addEventListener("refresh", () => {
    if (!document.hidden) refresh();
  });
  events.addEventListener("error", () => {
    showLive("Reconnecting", true);
    if (events && events.readyState === EventSource.CLOSED) setTimeout(() => events && listen(), 10_000);
  });
}

function refresh() {
  const live = document.getElementById("live");
  if (live) htmx.trigger(live, "refresh");
  refreshes += 1;
  if (refreshes % CHARTS_EVERY === 0) [...charts, ...timelines].forEach((chart) => chart.update());
}

// What has not changed but for its age is not sent again; ages count on.
let refreshes = 0;
const CHARTS_EVERY = 5; // a chart has steps of half a minute
let seen = { path: "", tag: "" };

document.body.addEventListener("htmx:configRequest", ({ detail }) => {
  if (detail.triggeringEvent?.type === "refresh" && seen.path === detail.path) detail.headers["If-None-Match"] = seen.tag;
});

document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { xhr } = detail;
  if (xhr.status === 304) detail.shouldSwap = false;
  else seen = { path: detail.requestConfig.path, tag: xhr.getResponseHeader("ETag") || "" };
});

document.body.addEventListener("htmx:afterOnLoad", ({ detail }) => {
  const now = Number(detail.xhr.getResponseHeader("X-Now"));
  if (!now) return;
  for (const each of document.querySelectorAll("[data-at]")) each.textContent = duration(now - each.dataset.at);
  localize();
});

// As the server writes it (words.py).
function duration(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  if (whole < 1) return "under 1 s";
  if (whole < 120) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(whole / 3600);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

liveToggle.addEventListener("click", () => {
  if (events) {
    events.close();
    events = null;
    showLive("Paused", false);
  } else {
    showLive("Live", true);
    listen();
  }
});

// After a search, not after every refresh, the number of hits is said once.
document.body.addEventListener("htmx:afterSwap", (event) => {
  const cause = event.detail.requestConfig?.triggeringEvent;
  const summary = document.getElementById("summary");
  if (summary && cause && cause.type !== "refresh") {
    document.getElementById("announce").textContent = summary.textContent;
  }
});

// Theme: auto follows the system.
const themeToggle = document.getElementById("theme-toggle");
themeToggle.querySelector("span").textContent = theme();
themeToggle.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  localStorage.setItem("theme", next);
  document.documentElement.dataset.theme = next;
  themeToggle.querySelector("span").textContent = next;
  redraw();
});
function redraw() {
  [...charts, ...timelines].forEach((chart) => chart.draw());
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// Charts: drawn by uPlot from the API, which gives {stepSeconds, end, series}; a series of one number is a line.
class Chart {
  constructor(box) {
    this.box = box;
    this.series = box.dataset.series.split(",");
    this.labels = (box.dataset.labels || box.dataset.series).split(",");
    this.plot = null;
    this.data = null;
    new ResizeObserver(() => this.plot && this.plot.setSize(this.size())).observe(box);
    this.update();
  }

  size() {
    return { width: this.box.clientWidth, height: 220 };
  }

  async update() {
    const answer = await fetch(this.box.dataset.src).catch(() => null);
    if (!answer || !answer.ok) return; // the chart stays as it is; the text beside it tells what is wrong
    const recent = this.box.dataset.path.split(".").reduce((part, key) => part?.[key], await answer.json());
    if (!recent) return;
    const columns = this.series.map((name) => recent.series[name]);
    const length = Math.max(...columns.map((column) => (Array.isArray(column) ? column.length : 0)));
    if (!length) return;
    const times = Array.from({ length }, (_, index) => recent.end - (length - 1 - index) * recent.stepSeconds);
    this.data = [times, ...columns.map((column) => (Array.isArray(column) ? column : times.map(() => column)))];
    if (this.plot) this.plot.setData(this.data);
    else this.draw();
  }

  draw() {
    if (!this.data) return;
    if (this.plot) this.plot.destroy();
    const colour = (name) => {
      this.box.dataset.colour = name;
      return getComputedStyle(this.box).color;
    };
    const axis = { stroke: colour("text"), grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false } };
    const strokes = [colour("first"), colour("second")];
    this.plot = new uPlot(
      {
        ...this.size(),
        legend: { live: true },
        scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1e-9)] } },
        axes: [axis, { ...axis, size: 64 }],
        series: [
          {},
          ...this.series.map((name, index) => ({
            label: this.labels[index],
            stroke: strokes[index],
            width: 2,
            dash: index ? [6, 4] : undefined,
          })),
        ],
      },
      this.data,
      this.box,
    );
  }
}

const charts = Array.from(document.querySelectorAll(".chart"), (box) => new Chart(box));

themeToggle.hidden = false;
if (document.getElementById("live")) {
  liveToggle.hidden = false;
  listen();
}
