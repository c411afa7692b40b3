// Small helpers: elements, times, and the names that are typed.
const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
};

const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const written = (id) => JSON.parse(document.getElementById(id).textContent);
const overview = written("overview");
const { labels, colours } = overview;

// Milliseconds as m:ss.s, with hours where there are any.
const clock = (ms) => {
  const tenths = Math.round(ms / 100);
  const minutes = Math.floor(tenths / 600);
  const seconds = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  if (minutes < 60) return `${minutes}:${seconds}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${seconds}`;
};
const duration = (ms) => {
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 3600000 ? `${clock(ms).slice(0, -2)} min` : `${clock(ms).slice(0, -5)} h`;
};
const percent = (thousandths) => `${Math.round(thousandths / 10)}\u00a0%`;
const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;
const strongest = (row) => row.indexOf(Math.max(...row));
const swatch = (k) => el("span", { class: "swatch", style: `background:${colours[k]}`, "aria-hidden": "true" });
const picture = (base64, alt, side) =>
  base64 === null
    ? el("span", { class: "nobody", style: `width:${side}px;height:${side}px`, "aria-hidden": "true" })
    : el("img", { src: `data:image/jpeg;base64,${base64}`, alt, width: side, height: side });

// A bar of shares, and what it says.
const shareText = (shares) =>
  shares
    .map((share, k) => [share, labels[k]])
    .filter(([share]) => share >= 5)
    .sort((a, b) => b[0] - a[0])
    .map(([share, label]) => `${label} ${percent(share)}`)
    .join(", ");
const shareBar = (shares) =>
  el(
    "span",
    { class: "shares", role: "img", "aria-label": shareText(shares) || "nobody seen", title: shareText(shares) },
    ...shares.map((share, k) => el("i", { style: `width:${share / 10}%;background:${colours[k]}` })),
  );

// Names of persons, in the storage that the browser keeps for this file.
const people = (() => {
  const key = `dfer-names-${overview.key}`;
  let names = {};
  let kept = true;
  try {
    names = JSON.parse(localStorage.getItem(key)) ?? {};
  } catch {
    kept = false;
  }
  const known = {}; // where the model of identities told people apart
  return {
    introduce: (video) => {
      for (const { track, person } of video.people) {
        if (person !== null) known[`${track} ${video.name}`] = /^\d+$/.test(person) ? `Person ${person}` : person;
      }
    },
    usual: (video, track) => known[`${track} ${video}`] ?? `Face ${track}`,
    name: (video, track) => names[`${track} ${video}`] ?? people.usual(video, track),
    given: (video, track) => names[`${track} ${video}`] ?? "",
    rename: (video, track, name) => {
      if (name) names[`${track} ${video}`] = name;
      else delete names[`${track} ${video}`];
      try {
        localStorage.setItem(key, JSON.stringify(names));
      } catch {
        kept = false;
      }
    },
    areKept: () => kept,
  };
})();

// A table of spans with the names as they are now; no cell can be a formula.
const cell = (value) => {
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const saveTable = (videos) => {
  const rows = [["source", "track", "person", "start_seconds", "end_seconds", "label", "confidence", "uncertain"]];
  for (const video of videos) {
    people.introduce(video);
    for (const [track, start, end, k, sure] of video.spans) {
      const person = people.given(video.name, track) || (video.people.find((one) => one.track === track)?.person ?? "");
      const doubt = sure < video.threshold ? "True" : "False";
      rows.push([video.name, track, person, start / 1000, end / 1000, labels[k], sure / 1000, doubt]);
    }
  }
  const text = rows.map((row) => row.map(cell).join(",")).join("\n");
  const link = el("a", {
    href: URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" })),
    download: videos.length === 1 ? `${videos[0].name.split("/").pop()}.spans.csv` : "spans.csv",
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
