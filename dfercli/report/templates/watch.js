// One video: player, what its faces show at the playhead, lanes, moments and spans.
const STEP = 500;
const FAR_STEP = 5000;
const BOX_REACH = 600; // ms; between boxes further apart nothing is known
const CROP_SIDE = 112;

class Watch {
  constructor(number) {
    const video = written(`video-${number}`);
    people.introduce(video);
    Object.assign(this, { video, now: 0, person: video.people[0] ?? null, cleanups: [] });
    this.player = this.makePlayer(written(`player-${number}`));
    this.lanes = new Lanes(video, (ms) => this.seek(ms), (person) => this.select(person));
    this.makeNow();
    const facts = [count(video.people.length + video.left_out, "person", "people"), clock(video.length)];
    const title = video.name.split("/").pop();
    const folder = video.name.slice(0, -title.length);
    this.heading = el("h2", { tabindex: "-1" }, title);
    this.element = el(
      "section",
      { class: "watch", "aria-label": title },
      el("div", { class: "title" }, overview.videos.length > 1 ? this.heading : null, el("p", { class: "soft path" }, [folder, ...facts].filter(Boolean).join(" · "))),
      video.failure && el("p", { class: video.nobody ? "" : "bad" }, video.failure),
      video.people.length === 0 ? this.nobody() : this.main(),
    );
    this.onRenamed = () => this.show(this.now);
    document.addEventListener("renamed", this.onRenamed);
    this.select(this.person);
  }

  nobody() {
    const { video } = this;
    return el("div", {}, this.stage(), ...(video.failure ? [] : [el("p", {}, "No face was seen.")]), ...this.notes());
  }

  main() {
    return el(
      "div",
      {},
      el(
        "div",
        { class: "split" },
        el("div", { class: "stage" }, this.stage(), this.nowPanel),
        el("div", { class: "side" }, this.legend(), this.lanes.element, ...this.notes(), this.keys()),
      ),
      this.moments(),
      this.table(),
    );
  }

  makePlayer(address) {
    if (address === null) return null;
    const player = el("video", { controls: true, preload: "metadata", playsinline: true, src: address, "aria-label": this.video.name });
    player.addEventListener("error", () => {
      this.note.textContent = "The video cannot be played here: it was moved, or this browser does not know its format.";
    });
    player.addEventListener("play", () => this.follow());
    for (const name of ["timeupdate", "seeked", "loadeddata"]) player.addEventListener(name, () => this.show(this.playerTime()));
    return player;
  }

  stage() {
    this.note = el("p", { class: "soft video-note" }, this.video.note);
    if (this.player === null) return this.note;
    this.boxes = svg("svg", { class: "boxes", "aria-hidden": "true" });
    return el("div", { class: "player" }, el("div", { class: "screen" }, this.player, this.boxes), this.note);
  }

  playerTime() {
    return 1000 * this.player.currentTime + this.video.offset;
  }

  follow() {
    if (this.player.paused || !this.element.isConnected) return;
    this.show(this.playerTime(), true);
    requestAnimationFrame(() => this.follow());
  }

  seek(ms) {
    const to = Math.min(Math.max(ms, 0), this.video.length);
    if (this.player) this.player.currentTime = Math.max(0, to - this.video.offset) / 1000;
    this.show(to);
  }

  select(person) {
    if (person === null) return;
    this.person = person;
    this.lanes.mark(person);
    this.show(this.now);
  }

  // The panel at the playhead.
  makeNow() {
    this.crop = el("canvas", { width: CROP_SIDE, height: CROP_SIDE, role: "img", "aria-label": "The face at the playhead" });
    this.who = el("strong", {});
    this.when = el("span", { class: "soft" });
    this.bars = labels.map((label, k) => {
      const bar = el("i", { style: `background:${colours[k]}` });
      const value = el("span", { class: "value" });
      return { bar, value, element: el("li", {}, el("span", { class: "label" }, label), el("span", { class: "bar" }, bar), value) };
    });
    this.nowPanel = el(
      "div",
      { class: "now" },
      el("div", { class: "face" }, this.crop, el("div", { class: "said" }, this.who, this.when)),
      el("ul", { class: "bars", "aria-label": "Probabilities at the playhead" }, ...this.bars.map(({ element }) => element)),
    );
  }

  show(ms, follow = false) {
    this.now = ms;
    this.lanes.show(ms, follow);
    if (this.person === null) return;
    const { video, person } = this;
    const index = intervalAt(person, ms);
    const row = index === null ? null : person.rows[index];
    this.who.textContent = people.name(video.name, person.track);
    this.when.textContent = row === null ? `${clock(ms)}: not seen` : `${clock(ms)}: ${this.stretch(index)}`;
    this.bars.forEach(({ bar, value, element }, k) => {
      bar.style.width = row === null ? "0" : `${row[k] / 10}%`;
      value.textContent = row === null ? "–" : percent(row[k]);
      element.classList.toggle("best", row !== null && k === strongest(row));
    });
    this.drawFace(row !== null);
    this.drawBoxes();
  }

  // What the person shows at the playhead, and in which time it is the most probable.
  stretch(index) {
    const { video, person, now } = this;
    const row = person.rows[index];
    const span = video.spans.find(([track, from, to]) => track === person.track && from <= now && now < to);
    const [, from, to] = span ?? [person.track, person.edges[index], person.edges[index + 1]];
    const doubt = Math.max(...row) < video.threshold ? " (uncertain)" : "";
    return `${labels[span?.[3] ?? strongest(row)]}${doubt} from ${clock(from)} to ${clock(to)}`;
  }

  // From the video itself where it is at hand, else the nearest picture.
  drawFace(isSeen) {
    const { player, video, person } = this;
    const brush = this.crop.getContext("2d");
    const box = boxAt(person, this.now);
    brush.clearRect(0, 0, CROP_SIDE, CROP_SIDE);
    if (!isSeen) return;
    if (player && box && !video.drawn && player.readyState >= 2 && player.videoWidth) {
      const [left, top, right, bottom] = box;
      const side = 1.3 * Math.max(right - left, bottom - top);
      brush.drawImage(player, (left + right - side) / 2, (top + bottom - side) / 2, side, side, 0, 0, CROP_SIDE, CROP_SIDE);
      return;
    }
    const [, nearest] = person.pictures.reduce((best, one) => (Math.abs(one[0] - this.now) < Math.abs(best[0] - this.now) ? one : best), [Infinity, person.portrait]);
    if (nearest === null) return;
    const image = new Image();
    image.onload = () => brush.drawImage(image, 0, 0, CROP_SIDE, CROP_SIDE);
    image.src = `data:image/jpeg;base64,${nearest}`;
  }

  // Who is who, over the video.
  drawBoxes() {
    const { player, video } = this;
    if (!player?.videoWidth || video.drawn) return;
    const { videoWidth: width, videoHeight: height } = player;
    this.boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const size = (14 * width) / (player.clientWidth || width);
    const shown = [];
    for (const person of video.people) {
      const box = boxAt(person, this.now);
      if (box === null) continue;
      const [left, top, right, bottom] = box;
      const row = valuesAt(person, this.now);
      if (row === null) continue;
      const stroke = colours[strongest(row)];
      const strong = person === this.person ? 3 : 1.5;
      const above = top > 1.4 * size;
      const under = bottom + 1.3 * size < height ? bottom + size : top + 1.1 * size;
      shown.push(
        svg("rect", { x: left, y: top, width: right - left, height: bottom - top, fill: "none", stroke, "stroke-width": (strong * size) / 14 }),
        svg("text", { x: left, y: above ? top - 0.35 * size : under, "font-size": size }, people.name(video.name, person.track)),
      );
    }
    this.boxes.replaceChildren(...shown);
  }

  legend() {
    const shown = labels.map((label, k) => el("li", {}, swatch(k), label));
    if (this.video.threshold > 0) shown.push(el("li", {}, el("span", { class: "swatch hatched", "aria-hidden": "true" }), "uncertain"));
    return el("ul", { class: "legend", "aria-label": "Colours of the classes" }, ...shown);
  }

  timeButton(ms, text = clock(ms)) {
    return el("button", { class: "time", type: "button", "data-ms": ms, onclick: () => this.seek(ms) }, text);
  }

  notes() {
    const { video } = this;
    const notes = [];
    if (video.gaps.length > 0 && video.people.length > 0) {
      const shown = video.gaps.map(([start, end, reason]) => el("li", {}, this.timeButton(start), ` to ${clock(end)}: ${reason}`));
      const rest = el("details", {}, el("summary", {}, `Nobody seen, ${count(shown.length, "time", "times")}`), el("ul", { class: "gap-list" }, ...shown));
      rest.open = shown.length <= 3;
      notes.push(rest);
    }
    for (const remark of video.remarks) notes.push(el("p", { class: "remark" }, `${remark}.`));
    if (video.left_out > 0) notes.push(el("p", { class: "remark" }, `${video.left_out} more people were seen for a shorter time; they are in the table of predictions.`));
    return notes;
  }

  keys() {
    const rows = [
      ["space, K", "play or pause"],
      ["← →", "half a second; with shift five"],
      ["J L", "five seconds back; forward, or faster while playing"],
      ["1 to 9", "a person"],
      ["+ − 0", "zoom in, out, all; ctrl and the wheel zoom too, shift and the wheel move"],
      ...(overview.videos.length > 1 ? [["esc", "all videos"]] : []),
    ];
    return el("details", { class: "keys" }, el("summary", {}, "Keys"), el("dl", {}, ...rows.flatMap(([key, what]) => [el("dt", {}, key), el("dd", {}, what)])));
  }

  moments() {
    const { video } = this;
    if (video.moments.length === 0) return null;
    const shown = video.moments.map(({ track, at, label, sure, picture: image }) => {
      const who = people.name(video.name, track);
      const go = () => {
        this.select(video.people.find((person) => person.track === track) ?? this.person);
        this.seek(at);
      };
      return el(
        "li",
        {},
        el("button", { type: "button", class: "moment", onclick: go }, picture(image, "", 96), el("span", {}, swatch(label), el("strong", {}, labels[label]), ` ${percent(sure)}`), el("span", { class: "soft" }, `${who}, ${clock(at)}`)),
      );
    });
    return el("section", {}, el(overview.videos.length > 1 ? "h3" : "h2", {}, "Strongest moments"), el("ul", { class: "moments" }, ...shown));
  }

  table() {
    const { video } = this;
    const body = el("tbody");
    const table = el(
      "details",
      { class: "spans", ontoggle: () => fill() },
      el("summary", {}, `Who shows what, and when (${video.spans.length})`),
      el(
        "div",
        { class: "scroll", tabindex: "0" },
        el("table", { class: "wide" }, el("thead", {}, el("tr", {}, ...["person", "from", "to", "expression"].map((name) => el("th", { scope: "col" }, name)), el("th", { scope: "col", class: "number" }, "probability"))), body),
      ),
      video.spans_left_out > 0 ? el("p", { class: "soft" }, `${video.spans_left_out} more are in the table of predictions.`) : null,
    );
    const fill = () => {
      const rows = video.spans.map(([track, start, end, k, sure]) =>
        el("tr", {}, el("td", {}, people.name(video.name, track)), el("td", {}, this.timeButton(start)), el("td", {}, clock(end)), el("td", {}, swatch(k), labels[k], sure < video.threshold ? el("span", { class: "soft" }, " (uncertain)") : ""), el("td", { class: "number" }, percent(sure))),
      );
      body.replaceChildren(...rows);
    };
    const save = el("button", { type: "button", class: "plain", onclick: () => saveTable([video]) }, "Save this table with names (CSV)");
    this.openAll = () => {
      table.open = true;
      fill();
      if (this.lanes.fold) this.lanes.fold.open = true;
    };
    return el("section", { class: "spans-section" }, table, save);
  }

  // Whether a key was one of ours.
  key(event) {
    const step = event.shiftKey ? FAR_STEP : STEP;
    const { player } = this;
    const toggle = () => player && (player.paused ? player.play() : player.pause());
    const faster = () => {
      if (!player || player.paused) this.seek(this.now + FAR_STEP);
      else player.playbackRate = Math.min(4, 2 * player.playbackRate);
    };
    const actions = {
      " ": toggle,
      k: () => {
        if (player) player.playbackRate = 1;
        toggle();
      },
      j: () => this.seek(this.now - FAR_STEP),
      l: faster,
      ArrowLeft: () => this.seek(this.now - step),
      ArrowRight: () => this.seek(this.now + step),
      PageUp: () => this.seek(this.now + FAR_STEP),
      PageDown: () => this.seek(this.now - FAR_STEP),
      Home: () => this.seek(0),
      End: () => this.seek(this.video.length),
      "+": () => this.lanes.zoom(0.5),
      "=": () => this.lanes.zoom(0.5),
      "-": () => this.lanes.zoom(2),
      0: () => this.lanes.zoom(Infinity),
    };
    const person = /^[1-9]$/.test(event.key) ? this.video.people[Number(event.key) - 1] : undefined;
    const action = person ? () => this.choose(person) : actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    action?.();
    return action !== undefined;
  }

  choose(person) {
    this.select(person);
    this.lanes.reveal(person).element.scrollIntoView({ block: "nearest" });
  }

  close() {
    document.removeEventListener("renamed", this.onRenamed);
    this.player?.pause();
    this.element.remove();
  }
}

// The box of a person at a moment, between the two that are known; null where there is none.
const boxAt = ({ boxes }, ms) => {
  let low = 0;
  let high = boxes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (boxes[middle][0] <= ms) low = middle + 1;
    else high = middle;
  }
  const before = boxes[low - 1];
  const after = boxes[low];
  if (before === undefined || after === undefined) {
    const nearest = before ?? after;
    return nearest !== undefined && Math.abs(nearest[0] - ms) < BOX_REACH / 4 ? nearest.slice(1) : null;
  }
  const apart = after[0] - before[0];
  if (apart > BOX_REACH) return ms - before[0] < BOX_REACH / 4 ? before.slice(1) : null;
  const share = apart === 0 ? 0 : (ms - before[0]) / apart;
  return before.slice(1).map((value, side) => value + share * (after[side + 1] - value));
};
