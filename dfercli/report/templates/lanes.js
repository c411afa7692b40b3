// The lanes of one video: one a person, on one axis that can be zoomed and moved.
const STEPS = [100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 1200000, 3600000];
const SHORTEST_VIEW = 500;
const MOST_UNFOLDED = 12;

class Lanes {
  // `seek(ms)` and `select(person)` are called by what is done here.
  constructor(video, seek, select) {
    Object.assign(this, { video, seek, select, now: 0, start: 0, end: video.length });
    this.rows = video.people.map((person, number) => this.row(person, number));
    this.axis = el("div", { class: "axis", "aria-hidden": "true" });
    this.playhead = el("div", { class: "playhead" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.track = el("div", { class: "over", "aria-hidden": "true" }, this.playhead, this.tip);
    this.pan = el("div", { class: "pan", hidden: true, tabindex: "-1" }, el("div"));
    this.pan.addEventListener("scroll", () => this.panned());
    const button = (text, label, factor) =>
      el("button", { type: "button", "aria-label": label, title: label, onclick: () => this.zoom(factor) }, text);
    this.element = el(
      "div",
      { class: `lanes${this.rows.length === 1 ? " one" : this.rows.length < 4 ? " few" : ""}` },
      el(
        "div",
        { class: "lane-row axis-row" },
        el("div", { class: "lane-head zoom" }, button("−", "Zoom out (-)", 2), button("+", "Zoom in (+)", 0.5), button("all", "Show all (0)", Infinity)),
        this.axis,
      ),
      ...this.folded(),
      ...this.gapRow(),
      this.track,
      el("div", { class: "lane-row" }, el("div", { class: "lane-head" }), this.pan),
    );
    new ResizeObserver(() => this.draw()).observe(this.axis);
  }

  // Rows in the order of time seen; those that are seen shortly are folded.
  folded() {
    const longest = this.video.people[0]?.seen ?? 0;
    const isShort = ({ seen }, number) =>
      number > 0 && (number >= MOST_UNFOLDED || seen < Math.max(1000, 0.05 * longest));
    const short = this.rows.filter((_, number) => isShort(this.video.people[number], number));
    const long = this.rows.filter((row) => !short.includes(row)).map((row) => row.element);
    if (short.length < 2) return this.rows.map((row) => row.element);
    const inside = el("div", {}, ...short.map((row) => row.element));
    this.fold = el("details", { class: "fold" }, el("summary", {}, `${short.length} more, seen for ${duration(Math.max(...short.map((row) => row.person.seen)))} at most`), inside);
    return [...long, this.fold];
  }

  row(person, number) {
    const { video } = this;
    const best = strongest(person.mean);
    const lane = el(
      "div",
      { class: "lane", role: "slider", tabindex: "0", "aria-valuemin": "0", "aria-valuemax": (video.length / 1000).toFixed(1) },
      this.drawing(person),
    );
    const name = el("input", {
      class: "name",
      type: "text",
      maxlength: "60",
      value: people.given(video.name, person.track),
      placeholder: people.usual(video.name, person.track),
      "aria-label": `Name of face ${person.track}`,
      title: "Type a name; it is kept in this browser and written into the table",
      onchange: () => {
        people.rename(video.name, person.track, name.value.trim());
        document.dispatchEvent(new CustomEvent("renamed", { detail: person }));
      },
      onkeydown: (event) => event.key === "Enter" && name.blur(),
    });
    const head = el(
      "div",
      { class: "lane-head", onclick: () => this.select(person) },
      el("span", { class: "rank", "aria-hidden": "true" }, number < 9 ? String(number + 1) : ""),
      picture(person.portrait, "", 36),
      el(
        "div",
        { class: "who" },
        name,
        el("span", { class: "soft" }, `${duration(person.seen)}, ${labels[best]} ${percent(person.mean[best])}`),
      ),
    );
    const row = { person, lane, element: el("div", { class: "lane-row person" }, head, lane) };
    this.listen(row);
    return row;
  }

  // Areas of the classes on top of each other, and hatching where the model is unsure.
  drawing(person) {
    const { edges, rows } = person;
    const paths = labels.map(() => "");
    let doubts = "";
    rows.forEach((row, i) => {
      if (row === 0) return;
      let top = 1000;
      row.forEach((value, k) => {
        if (value > 0) paths[k] += `M${edges[i]} ${top}H${edges[i + 1]}v${-value}H${edges[i]}z`;
        top -= value;
      });
      if (Math.max(...row) < this.video.threshold) doubts += `M${edges[i]} 0H${edges[i + 1]}V1000H${edges[i]}z`;
    });
    const drawing = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
    paths.forEach((d, k) => d && drawing.append(svg("path", { d, fill: colours[k] })));
    if (doubts) drawing.append(svg("path", { d: doubts, fill: "url(#hatch)", class: "doubt" }));
    return drawing;
  }

  gapRow() {
    if (this.video.gaps.length === 0 || this.rows.length === 0) return [];
    this.gaps = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const [start, end, reason] of this.video.gaps) {
      const text = `${clock(start)} to ${clock(end)}: ${reason}`;
      this.gaps.append(svg("rect", { x: start, width: end - start, y: 0, height: 1000 }, svg("title", {}, text)));
    }
    const lane = el("div", { class: "lane gaps" }, this.gaps);
    lane.addEventListener("pointerdown", (event) => this.seek(this.at(event)));
    return [el("div", { class: "lane-row" }, el("div", { class: "lane-head soft" }, "nobody seen"), lane)];
  }

  listen({ person, lane }) {
    let held = false;
    lane.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      held = true;
      lane.setPointerCapture(event.pointerId);
      this.select(person);
      this.seek(this.at(event));
    });
    lane.addEventListener("pointermove", (event) => {
      if (held) this.seek(this.at(event));
      this.point(person, this.at(event));
    });
    for (const name of ["pointerup", "pointercancel"]) lane.addEventListener(name, () => (held = false));
    lane.addEventListener("pointerleave", () => (this.tip.hidden = true));
    lane.addEventListener("focus", () => this.select(person));
    lane.addEventListener(
      "wheel",
      (event) => {
        const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
        if (event.ctrlKey) this.zoom(Math.exp(event.deltaY / 300), this.at(event));
        else if (sideways && Math.abs(sideways) >= Math.abs(event.shiftKey ? 0 : event.deltaY)) this.move((sideways / lane.clientWidth) * (this.end - this.start));
        else return;
        event.preventDefault();
      },
      { passive: false },
    );
  }

  at(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const ms = this.start + ((event.clientX - box.left) / box.width) * (this.end - this.start);
    return Math.min(Math.max(ms, 0), this.video.length);
  }

  point(person, ms) {
    const row = valuesAt(person, ms);
    this.tip.hidden = false;
    this.tip.textContent = row === null ? `${clock(ms)} not seen` : `${clock(ms)} ${labels[strongest(row)]} ${percent(Math.max(...row))}`;
    const share = (ms - this.start) / (this.end - this.start);
    this.tip.style.left = `${100 * share}%`;
    this.tip.style.transform = `translateX(${-100 * share}%)`;
  }

  zoom(factor, around = this.now) {
    const wide = Math.min(Math.max((this.end - this.start) * factor, SHORTEST_VIEW), this.video.length);
    const held = around >= this.start && around <= this.end ? around : (this.start + this.end) / 2;
    this.view(held - ((held - this.start) / (this.end - this.start)) * wide, wide);
  }

  move(ms) {
    this.view(this.start + ms, this.end - this.start);
  }

  view(start, wide) {
    this.start = Math.min(Math.max(start, 0), this.video.length - wide);
    this.end = this.start + wide;
    this.draw();
  }

  panned() {
    if (this.isDrawing) return;
    const start = (this.pan.scrollLeft / this.pan.firstChild.clientWidth) * this.video.length;
    if (Math.abs(start - this.start) > 1) this.view(start, this.end - this.start);
  }

  draw() {
    const { start, end, video } = this;
    const wide = end - start;
    const width = this.axis.clientWidth || 600;
    const frame = `${start} 0 ${wide} 1000`;
    for (const { lane } of this.rows) lane.firstChild.setAttribute("viewBox", frame);
    this.gaps?.setAttribute("viewBox", frame);
    const height = this.rows[0]?.lane.clientHeight || 60;
    document
      .getElementById("hatch")
      .setAttribute("patternTransform", `scale(${wide / width} ${1000 / height}) rotate(45)`);
    const step = STEPS.find((one) => (one / wide) * width >= 76) ?? STEPS.at(-1);
    const ticks = [];
    for (let ms = Math.ceil(start / step) * step; ms <= end; ms += step) {
      const left = (100 * (ms - start)) / wide;
      const text = step < 1000 ? clock(ms) : clock(ms).slice(0, -2);
      ticks.push(el("span", { style: `left:${left}%`, class: left > 97 ? "last" : left < 1 ? "first" : "" }, text));
    }
    this.axis.replaceChildren(...ticks);
    this.isDrawing = true;
    this.pan.hidden = wide >= video.length;
    this.pan.firstChild.style.width = `${(100 * video.length) / wide}%`;
    this.pan.scrollLeft = (start / video.length) * this.pan.firstChild.clientWidth;
    requestAnimationFrame(() => (this.isDrawing = false));
    this.show(this.now);
  }

  // Put the playhead at a moment; what lies outside of the view moves into it while playing.
  show(ms, follow = false) {
    this.now = ms;
    if (follow && (ms < this.start || ms > this.end)) this.view(ms - 0.1 * (this.end - this.start), this.end - this.start);
    const share = (ms - this.start) / (this.end - this.start);
    this.playhead.hidden = share < 0 || share > 1;
    this.playhead.style.left = `${100 * share}%`;
    for (const { person, lane } of this.rows) {
      const row = valuesAt(person, ms);
      const said = row === null ? "not seen" : `${labels[strongest(row)]} ${percent(Math.max(...row))}`;
      lane.setAttribute("aria-label", `Timeline of ${people.name(this.video.name, person.track)}`);
      lane.setAttribute("aria-valuenow", (ms / 1000).toFixed(1));
      lane.setAttribute("aria-valuetext", `${clock(ms)}: ${said}`);
    }
  }

  mark(person) {
    for (const row of this.rows) row.element.classList.toggle("chosen", row.person === person);
  }

  reveal(person) {
    const row = this.rows.find((one) => one.person === person);
    if (this.fold?.contains(row.element)) this.fold.open = true;
    return row;
  }
}

// The probabilities of a person at a moment; null where the face is not seen.
const intervalAt = (person, ms) => {
  const { edges, rows } = person;
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (edges[middle + 1] <= ms) low = middle + 1;
    else high = middle;
  }
  return low < rows.length && ms >= edges[low] && rows[low] !== 0 ? low : null;
};
const valuesAt = (person, ms) => {
  const index = intervalAt(person, ms);
  return index === null ? null : person.rows[index];
};
