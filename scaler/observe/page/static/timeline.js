// The timeline of a ScaledObject: what its journal knows, on one axis of time, with a pointer that tells the moment.
"use strict";

const SILENT_SECONDS = 100; // without a call for so long nothing is known, as the journal has it
const STRIP = 16;
const STRIPS = ["state", "backend", "streams"];
const DIGITS = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };
const SPANS = { hour: 3600, day: 86400 };

// All charts of the page share one answer, which is asked for again only if it has changed.
const journal = {
  told: null,
  tag: "",
  begun: 0,
  async read(src) {
    const answer = await fetch(src, { headers: this.tag ? { "If-None-Match": this.tag } : {} }).catch(() => null);
    if (answer?.ok) {
      this.tag = answer.headers.get("ETag") || "";
      this.told = await answer.json();
      this.begun = Date.now() / 1000;
    }
    return this.told;
  },
  now() {
    return this.told.now + (Date.now() / 1000 - this.begun);
  },
};

// Periods of one track: [{from, text, kind}], each until the next; `null` for a time of which nothing is known.
function periods(trigger, ends) {
  const tracks = { state: [], backend: [], streams: [] };
  const values = [];
  let told = null;
  let state = null;
  const gap = (from, to) => {
    values.push([from - 0.001, told], [from, null], [to, told]);
    tracks.state.push({ from, kind: "unknown", text: "KEDA did not ask" }, { ...state, from: to });
  };
  for (const event of trigger.events) {
    const { at, kind } = event;
    if (kind === "value") {
      values.push([at - 0.001, told], [at, event.values]);
      told = event.values;
    } else if (kind === "asked") {
      gap(at - event.after, at);
    } else if (kind === "fault" || kind === "healed") {
      tracks.backend.push({ from: at, kind, text: kind === "fault" ? event.message : "read well" });
    } else if (kind === "stream") {
      tracks.streams.push({ from: at, kind: event.open ? "stream" : "none", text: event.open === 1 ? "1 stream open" : `${event.open} streams open` });
    } else {
      if (kind === "error") {
        values.push([at - 0.001, told], [at, null]);
        told = null;
      }
      const words = [kind === "held" || kind === "settling" ? `${kind}, told active` : kind, event.code, event.message];
      state = { from: at, kind, text: words.filter(Boolean).join(": ") };
      tracks.state.push(state);
      if (kind === "refused") ends = Math.max(ends, event.until);
    }
  }
  values.push([ends - 0.001, told], [ends, null]);
  if (trigger.specs.length && trigger.events.length) {
    // Whatever is not told was well, and closed, as long as the trigger is known.
    tracks.backend.unshift({ from: trigger.since, kind: "healed", text: "read well" });
    tracks.streams.unshift({ from: trigger.since, kind: "none", text: "no stream open" });
  }
  for (const name of STRIPS) if (tracks[name].length) tracks[name].push({ from: ends, kind: "unknown", text: "not known" });
  values.sort((one, other) => one[0] - other[0]);
  return { tracks, values };
}

function at(track, when) {
  return track.findLast((each) => each.from <= when);
}

class Timeline {
  constructor(figure) {
    this.box = figure.querySelector(".timeline");
    this.moment = figure.querySelector(".moment");
    this.nothing = figure.querySelector(".nothing");
    this.number = Number(this.box.dataset.trigger);
    this.span = "hour";
    for (const button of figure.querySelectorAll("button[data-span]")) {
      button.addEventListener("click", () => {
        this.span = button.dataset.span;
        for (const each of figure.querySelectorAll("button[data-span]")) {
          each.setAttribute("aria-pressed", String(each === button));
        }
        this.update();
      });
      button.parentElement.hidden = false;
    }
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.box);
    this.update();
  }

  size() {
    return { width: this.box.clientWidth, height: 300 };
  }

  async update() {
    const told = await journal.read(this.box.dataset.src);
    this.trigger = told?.triggers[this.number];
    if (!this.trigger) return;
    const { specs, lastAsked, events, metricType } = this.trigger;
    this.end = journal.now();
    this.begin = this.end - SPANS[this.span];
    const silent = lastAsked !== null && this.end - lastAsked > SILENT_SECONDS && events.length;
    const { tracks, values } = periods(this.trigger, silent ? lastAsked : this.end);
    this.tracks = tracks;
    const known = values.filter(([when]) => when <= this.end);
    const column = (index) => known.map(([, row]) => (row ? row[index] : null));
    this.columns = specs.map((_, index) => column(index));
    const pods = known.map(([, row]) =>
      row && metricType === "AverageValue"
        ? Math.max(...row.map((value, index) => Math.ceil(value / specs[index].target - 1e-9)))
        : null,
    );
    this.data = [known.map(([when]) => when), ...this.columns, pods];
    const empty = !known.some(([when, row]) => row && when >= this.begin) && !values.some(([, row]) => row);
    this.nothing.hidden = !empty;
    this.nothing.textContent = empty
      ? `No value is known${told.since > this.begin ? `: the journal begins at ${clock(told.since)}` : ""}.`
      : "";
    if (this.plot) {
      this.plot.setData(this.data, false);
      this.plot.setScale("x", { min: this.begin, max: this.end });
    } else this.draw();
  }

  tell(when) {
    if (when === undefined || when === null) {
      this.moment.textContent = "Point at a moment, or use the arrow keys.";
      return;
    }
    const parts = [clock(when)];
    if (when < this.trigger.since) parts.push("nothing is known yet");
    else parts.push(at(this.tracks.state, when)?.text ?? "nothing is known");
    const row = this.data[0].findLastIndex((each) => each <= when);
    this.trigger.specs.forEach((spec, index) => {
      const value = row < 0 ? null : this.columns[index][row];
      if (value !== null) parts.push(`${spec.name} ${plain(value)}, target ${plain(spec.target)}`);
    });
    const pods = row < 0 ? null : this.data.at(-1)[row];
    if (pods !== null && pods !== undefined) parts.push(`asks for ${pods} ${pods === 1 ? "pod" : "pods"}`);
    for (const name of ["backend", "streams"]) {
      const period = at(this.tracks[name], when);
      if (period && period.kind !== "unknown" && !parts[1].endsWith(period.text)) parts.push(period.text);
    }
    this.moment.textContent = parts.join(" · ");
  }

  // The strips above the curve: one bar for each track, in the colours of the badges.
  strips(plot) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textBaseline = "middle";
    STRIPS.forEach((name, index) => {
      const top = bbox.top - (STRIPS.length - index) * STRIP * ratio - 6 * ratio;
      const track = this.tracks[name];
      ctx.fillStyle = computed(this.box, "text");
      ctx.textAlign = "right";
      ctx.fillText(name, bbox.left - 6 * ratio, top + (STRIP * ratio) / 2);
      const bars = [{ from: this.begin, kind: "unknown" }, ...track];
      bars.forEach((bar, number) => {
        const from = Math.max(bar.from, this.begin);
        const to = Math.min(bars[number + 1]?.from ?? this.end, this.end);
        if (to <= from) return;
        const left = plot.valToPos(from, "x", true);
        ctx.fillStyle = computed(this.box, bar.kind);
        ctx.fillRect(left, top, Math.max(1, plot.valToPos(to, "x", true) - left), (STRIP - 4) * ratio);
      });
    });
    ctx.restore();
  }

  draw() {
    if (!this.data) return;
    this.plot?.destroy();
    const text = computed(this.box, "text");
    const axis = { stroke: text, grid: { stroke: computed(this.box, "grid"), width: 1 }, ticks: { show: false } };
    const stepped = uPlot.paths.stepped({ align: 1 });
    const low = (_, __, high) => [0, Math.max(high * 1.1, 1)];
    const line = (label, colour, extra) => ({ label, stroke: computed(this.box, colour), width: 2, paths: stepped, points: { show: false }, ...extra });
    this.plot = new uPlot(
      {
        ...this.size(),
        padding: [STRIPS.length * STRIP + 10, 8, 0, 0],
        legend: { show: true, live: false },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: { x: { range: () => [this.begin, this.end] }, y: { range: low }, pods: { range: low } },
        axes: [{ ...axis, size: 32, values: (_, ticks) => ticks.map((when) => clock(when).slice(11, 16)) }, { ...axis, size: 62 }, { ...axis, scale: "pods", side: 1, size: 40, grid: { show: false } }],
        series: [
          {},
          ...this.trigger.specs.map((spec, index) => line(`${spec.name}, target ${plain(spec.target)}`, index ? "third" : "first")),
          line("pods that it asks for (right)", "second", { scale: "pods", dash: [5, 4] }),
        ],
        hooks: {
          draw: [(plot) => this.strips(plot)],
          setCursor: [(plot) => this.tell(plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null)],
        },
      },
      this.data,
      this.box,
    );
    this.tell(null);
  }
}

// A colour that the style sheet gives to a name; canvas knows no classes.
function computed(box, name) {
  box.dataset.colour = name;
  return getComputedStyle(box).color;
}

function plain(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

function clock(when) {
  return new Date(when * 1000).toLocaleString("sv", { ...DIGITS, timeZoneName: "short" });
}

// Moments are told in the time of the browser.
function localize() {
  for (const each of document.querySelectorAll("time[data-unix]")) each.textContent = clock(Number(each.dataset.unix));
}

const timelines = Array.from(document.querySelectorAll("figure:has(.timeline)"), (figure) => new Timeline(figure));
for (const timeline of timelines) {
  timeline.box.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !timeline.plot) return;
    event.preventDefault();
    const { plot } = timeline;
    const left = Math.min(plot.over.clientWidth - 1, Math.max(0, (plot.cursor.left < 0 ? plot.over.clientWidth : plot.cursor.left) + step * 4));
    plot.setCursor({ left, top: 10 });
  });
}
localize();
