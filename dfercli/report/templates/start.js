// The start view of several videos: a row each, filters, order, and shares by folder.
const FIRST_ROWS = 60;
const orders = {
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
  length: (a, b) => b.length - a.length,
  people: (a, b) => b.people - a.people || b.seen - a.seen,
};
labels.forEach((label, k) => (orders[label] = (a, b) => (b.people > 0) - (a.people > 0) || b.shares[k] - a.shares[k]));
const states = {
  "": () => true,
  people: (video) => video.people > 0,
  nobody: (video) => video.nobody,
  failed: (video) => Boolean(video.failure) && !video.nobody,
};

const meanShares = (videos) => {
  const seen = videos.reduce((sum, video) => sum + video.seen, 0);
  return labels.map((_, k) => videos.reduce((sum, video) => sum + video.shares[k] * video.seen, 0) / Math.max(1, seen));
};

class Start {
  constructor(open) {
    this.open = open;
    this.videos = overview.videos.map((video, number) => ({ ...video, number }));
    this.folders = [...new Set(this.videos.map((video) => video.folder))].sort();
    this.body = el("tbody");
    this.told = el("p", { class: "soft", role: "status" });
    this.groups = el("div", { class: "groups" });
    const select = (label, options) => {
      const field = el("select", { onchange: () => this.fill() }, ...options.map(([value, text]) => el("option", { value }, text)));
      return [field, el("label", {}, label, field)];
    };
    const [state, stateField] = select("show ", [["", "all"], ["people", "with people"], ["nobody", "nobody seen"], ["failed", "failed"]]);
    const [folder, folderField] = select("folder ", [["", "all"], ...this.folders.filter(Boolean).map((name) => [`/${name}`, name])]);
    const [most, mostField] = select("mostly ", [["", "anything"], ...labels.map((label, k) => [String(k), label])]);
    const [order, orderField] = select("order by ", [["name", "name"], ["length", "length"], ["people", "people"], ...labels.map((label) => [label, `share of ${label}`])]);
    const search = el("input", { type: "search", oninput: () => this.fill(), placeholder: "part of a name" });
    Object.assign(this, { state, folder, most, order, search });
    this.element = el(
      "section",
      { class: "start", "aria-label": "All videos" },
      this.tiles(),
      this.folders.length > 1 ? this.groups : null,
      el("form", { class: "tools", role: "search", onsubmit: (event) => event.preventDefault() }, el("label", {}, "find ", search), stateField, this.folders.length > 1 ? folderField : null, mostField, orderField, el("button", { type: "button", class: "plain", onclick: () => saveTable(this.shown.map(({ number }) => written(`video-${number}`))) }, "Save tables (CSV)")),
      this.legend(),
      this.told,
      el("div", { class: "scroll", tabindex: "0" }, el("table", { class: "wide list" }, el("thead", {}, el("tr", {}, ...["video", "timeline", "shares of time"].map((name) => el("th", { scope: "col" }, name)), ...["people", "length"].map((name) => el("th", { scope: "col", class: "number" }, name)))), this.body)),
    );
    this.drawGroups();
    this.fill();
  }

  legend() {
    return el("ul", { class: "legend", "aria-label": "Colours of the classes" }, ...labels.map((label, k) => el("li", {}, swatch(k), label)));
  }

  tiles() {
    const total = (name) => this.videos.reduce((sum, video) => sum + video[name], 0);
    const tile = (name, value, more) => el("div", { class: "tile" }, name, el("b", {}, value), el("span", { class: "soft" }, more));
    const failed = this.videos.filter(states.failed).length;
    const nobody = this.videos.filter(states.nobody).length;
    const shares = meanShares(this.videos);
    return el(
      "div",
      { class: "tiles" },
      tile("Videos", String(this.videos.length), duration(total("length"))),
      tile("People", String(total("people")), `seen for ${duration(total("seen"))}`),
      tile("Nobody seen", String(nobody), nobody === 1 ? "video" : "videos"),
      tile("Failed", String(failed), "wholly or in part"),
      el("div", { class: "tile wide-tile" }, "Shares of time", shareBar(shares), el("span", { class: "soft" }, shareText(shares).split(", ").slice(0, 3).join(", "))),
    );
  }

  drawGroups() {
    const rows = this.folders.map((folder) => {
      const videos = this.videos.filter((video) => video.folder === folder);
      const shares = meanShares(videos);
      const filter = () => {
        this.folder.value = folder ? `/${folder}` : "";
        this.fill();
        this.told.scrollIntoView({ block: "nearest" });
      };
      return el("tr", {}, el("th", { scope: "row" }, el("button", { type: "button", class: "time", onclick: filter }, folder || "(no folder)")), el("td", { class: "number" }, String(videos.length)), el("td", {}, shareBar(shares)), ...shares.map((share) => el("td", { class: "number" }, percent(share))));
    });
    const columns = [el("th", { scope: "col" }, "folder"), el("th", { scope: "col", class: "number" }, "videos"), el("th", { scope: "col" }, "shares of time"), ...labels.map((label) => el("th", { scope: "col", class: "number" }, label))];
    const table = el("details", {}, el("summary", {}, `By folder (${this.folders.length})`), el("div", { class: "scroll", tabindex: "0" }, el("table", { class: "wide" }, el("thead", {}, el("tr", {}, ...columns)), el("tbody", {}, ...rows))));
    table.open = this.folders.length <= 12;
    this.groups.replaceChildren(table);
  }

  fill() {
    const wanted = this.search.value.toLowerCase();
    this.shown = this.videos
      .filter((video) => states[this.state.value](video))
      .filter((video) => !this.folder.value || `/${video.folder}` === this.folder.value)
      .filter((video) => !this.most.value || (video.people > 0 && strongest(video.shares) === Number(this.most.value)))
      .filter((video) => video.name.toLowerCase().includes(wanted))
      .sort(orders[this.order.value]);
    this.told.textContent = this.shown.length === this.videos.length ? count(this.shown.length, "video", "videos") : `${this.shown.length} of ${count(this.videos.length, "video", "videos")}`;
    this.body.replaceChildren(...this.shown.slice(0, FIRST_ROWS).map((video) => this.row(video)));
    this.waiting = this.shown.slice(FIRST_ROWS);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fillMore(), 50);
  }

  fillMore(most = FIRST_ROWS) {
    const next = this.waiting.splice(0, most);
    this.body.append(...next.map((video) => this.row(video)));
    if (this.waiting.length > 0) this.timer = setTimeout(() => this.fillMore(), 20);
  }

  row(video) {
    const name = video.name.split("/").pop();
    const link = el("a", { href: `#video-${video.number}`, class: "open" }, name);
    const where = video.name.slice(0, -name.length);
    const strip = svg("svg", { class: "strip", viewBox: `0 0 ${video.length} ${Math.max(1, video.strips.length)}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    video.strips.forEach((spans, lane) => {
      const paths = labels.map(() => "");
      for (const [start, end, k] of spans) paths[k] += `M${start} ${lane + 0.1}H${end}v.8H${start}z`;
      paths.forEach((d, k) => d && strip.append(svg("path", { d, fill: colours[k] })));
    });
    const said = video.nobody || video.failure ? el("span", { class: video.nobody ? "soft" : "bad" }, video.failure ?? "nobody seen") : null;
    const best = strongest(video.shares);
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, link, where ? el("span", { class: "soft path" }, where) : null),
      el("td", { class: "strip-cell" }, video.people > 0 ? strip : said),
      el("td", {}, video.people > 0 ? shareBar(video.shares) : null, video.people > 0 ? el("span", { class: "soft" }, `${labels[best]} ${percent(video.shares[best])}`) : null, video.people > 0 ? said : null),
      el("td", { class: "number" }, String(video.people), video.remarks > 0 ? el("span", { class: "soft", title: "see its notes" }, " *") : null),
      el("td", { class: "number" }, clock(video.length)),
    );
  }
}
